// Package torture is the proof that nothing is lost, for users to run on their own kernel and file system: it starts
// the program as a daemon with real rsync daemons and receivers behind relays of its own, has several writers change the source at random,
// kills, stops, cuts and freezes whatever there is, and then demands that every target equals the source and that after each
// restart nothing was sent that had not changed. It is no step of the path of a change; it harms all of them.
package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how to torture.
type Options struct {
	// Dir is an existing empty directory. Everything is below it.
	Dir string
	// Program is the program under test.
	Program string
	// Target is one of Kinds.
	Target string
	// Seed is that of all that is random.
	Seed uint64
	// The storm ends when all three are reached: its time, operations of the writers, kills of the daemon.
	Duration   time.Duration
	Ops, Kills int
	// Power has the state directory and a target on images of their own, and cuts their power. It needs root.
	Power bool
	// Soak leaves the daemon under test alive, and looks whether it grows.
	Soak bool
	// Keep leaves everything there when all is well, too.
	Keep bool
	Out  io.Writer
	// Line, when not nil, shows how far it is, in place of the line before.
	Line func(text string)
}

// writers is how many change the source beside the one whose files say which version they are.
const writers = 3

// torture is one run.
type torture struct {
	o       Options
	dir     string
	source  string
	subject *subject
	targets []*target
	oracle  *oracle
	whole   *whole
	feed    feed
	harms   *tally
	log     *os.File // what was done when
	power   *power   // nil without
	ops     atomic.Int64

	mu sync.Mutex
	// wrong is what was found, restarts how many lives were judged, sent how many paths they sent.
	wrong          []string
	restarts, sent int
	// asked is how many paths were in batches, named how many of them were told by name, inVain how many of these had not changed.
	asked, named, inVain int
	// harmed is when a target was harmed last.
	harmed time.Time

	// paths is how many the source has at the end, late how many differed until the second look, leftovers in how many
	// directories killed receivers left files.
	paths, late, leftovers int
	// samples are those of a soak.
	samples []sample
}

// Broken is the error of a run that did not come to its end.
type Broken struct {
	Err   error
	Dir   string
	Again string
}

func (b *Broken) Error() string {
	return fmt.Sprintf("torture, all of which is kept in %q: %v", b.Dir, b.Err)
}

// Unwrap is why.
func (b *Broken) Unwrap() error { return b.Err }

// Hint is how to see it again.
func (b *Broken) Hint() string { return "run it again in another empty directory: " + b.Again }

// Wrong is the error of a run that found something.
type Wrong struct {
	Found []string
	Dir   string
	Again string
}

func (w *Wrong) Error() string {
	return fmt.Sprintf("%d wrong; everything is kept in %q", len(w.Found), w.Dir)
}

// Hint is how to see it again.
func (w *Wrong) Hint() string { return "run it again in another empty directory: " + w.Again }

// Run tortures until the storm is over, and returns nil when nothing was lost and nothing sent in vain.
func Run(ctx context.Context, o Options) (err error) {
	t, err := prepare(o)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, t.close())
		if err == nil && !o.Keep {
			err = t.clean()
		}
	}()
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	beside := group{stop: stop}
	defer func() { _ = beside.wait() }() // what fails there ends the play, which tells of it
	defer stop(nil)
	for _, g := range t.targets {
		if g.relay != nil {
			beside.run(func() error { return g.relay.run(running) })
		}
	}
	beside.run(func() error { return t.feed.follow(running, t.subject) })
	if err := t.play(running); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		} else if cause := context.Cause(running); cause != nil {
			err = cause
		}
		return &Broken{Err: err, Dir: t.dir, Again: t.again()}
	}
	t.show()
	if len(t.wrong) > 0 {
		return &Wrong{Found: t.wrong, Dir: t.dir, Again: t.again()}
	}
	fmt.Fprintln(o.Out, "nothing is lost, and nothing was sent that had not changed")
	return nil
}

// play is the run itself.
func (t *torture) play(ctx context.Context) error {
	fmt.Fprintf(t.o.Out, "seed %d, target %s, in %s\n", t.o.Seed, t.o.Target, t.dir)
	if err := t.release(ctx); err != nil {
		return err
	}
	if err := t.fill(); err != nil {
		return err
	}
	if err := t.begin(ctx); err != nil {
		return err
	}
	if err := t.storm(ctx); err != nil {
		return err
	}
	return t.calm(ctx)
}

// storm is the time in which everything is changed and harmed.
func (t *torture) storm(ctx context.Context) error {
	storm, over := context.WithCancelCause(ctx)
	all := group{stop: over}
	for i := range writers {
		all.run(func() error { return t.write(storm, uint64(i)) })
	}
	all.run(func() error { return t.whole.write(storm) })
	for i, g := range t.targets {
		if g.server != nil {
			all.run(func() error { return t.harm(storm, i) })
		}
		if g.ours() {
			all.run(func() error { return t.whole.read(storm, i) })
		}
		all.run(func() error { return t.watchLag(storm, i) })
	}
	if t.o.Soak {
		all.run(func() error { return t.soak(storm) })
	} else {
		all.run(func() error { return t.lives(storm) })
	}
	all.run(func() error { return t.progress(storm) })
	all.run(func() error {
		t.untilEnough(storm)
		over(errOver)
		return nil
	})
	if err := all.wait(); err != nil {
		return err
	}
	if err := context.Cause(storm); !errors.Is(err, errOver) {
		return err
	}
	return nil
}

var errOver = errors.New("the storm is over")

// untilEnough returns when the storm has been long enough.
func (t *torture) untilEnough(ctx context.Context) {
	if !pause(ctx, t.o.Duration) {
		return
	}
	for t.ops.Load() < int64(t.o.Ops) || t.harms.count(killed) < t.o.Kills {
		if !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// random is a stream of its own for each of those who do something at random.
func (t *torture) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(t.o.Seed, stream)) }

// note writes down what is done, for whoever looks for the reason of what was found.
func (t *torture) note(format string, args ...any) {
	fmt.Fprintf(t.log, time.Now().Format("15:04:05.000 ")+format+"\n", args...)
}

// found notes what is wrong.
func (t *torture) found(what ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range what {
		t.note("WRONG: %s", w)
	}
	t.wrong = append(t.wrong, what...)
}

// again is the command that does the same.
func (t *torture) again() string {
	text := fmt.Sprintf("sersync torture DIR --target %s --seed %d --duration %v", t.o.Target, t.o.Seed, t.o.Duration)
	if t.o.Ops > 0 {
		text += fmt.Sprintf(" --ops %d", t.o.Ops)
	}
	if t.o.Kills > 0 {
		text += fmt.Sprintf(" --kills %d", t.o.Kills)
	}
	if t.o.Power {
		text += " --power"
	}
	if t.o.Soak {
		text += " --soak"
	}
	return text
}

// close ends what runs, and removes everything when nothing was found.
func (t *torture) close() error {
	err := t.subject.kill()
	for _, g := range t.targets {
		if g.server != nil {
			err = errors.Join(err, g.server.signalAll(sigThaw), g.server.stop())
		}
	}
	if t.power != nil {
		err = errors.Join(err, t.power.close())
	}
	err = errors.Join(err, t.log.Close())
	return err
}

// group runs functions beside one another; the first error stops all.
type group struct {
	all  sync.WaitGroup
	stop context.CancelCauseFunc
	mu   sync.Mutex
	err  error // guarded by mu: the first; it may come after the stop
}

func (g *group) run(do func() error) {
	g.all.Go(func() {
		if err := do(); err != nil {
			g.stop(err)
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.err == nil {
				g.err = err
			}
		}
	})
}

// wait returns the first error when all are done.
func (g *group) wait() error {
	g.all.Wait()
	return g.err
}

// below is a path in our directory.
func (t *torture) below(name string) string { return filepath.Join(t.dir, name) }
