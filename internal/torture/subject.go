package torture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/config"
	"sersync/internal/httpd"
)

// stopTime is within what the daemon under test ends when it is told to: ten seconds for what is owed, and some for a busy machine.
const stopTime = 40 * time.Second

// subject is the daemon under test.
type subject struct {
	program, config, output string
	client                  *httpd.Client
	env                     []string
	metrics                 int
	write                   func(variant int) error
	variant                 int
	// watch is how it notices changes; another way needs another start.
	watch string
	// begun: it was started before. The first start compares everything; no other one may need that.
	begun bool

	mu sync.Mutex
	// proc is nil while it is down; began is when it was started.
	proc  *process
	began time.Time
	// held counts the starts that found the locks of one that was killed.
	held int
}

func newSubject(t *torture) (*subject, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	run := t.below("run")
	s := &subject{
		program: t.o.Program, config: t.below("torture.yaml"), output: t.below("log/output"), metrics: port,
		watch:  "auto",
		client: httpd.NewClient(filepath.Join(run, "torture.sock")),
		env:    []string{config.RunDirEnv + "=" + run, "PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"},
	}
	s.write = func(variant int) error { return os.WriteFile(s.config, []byte(t.configuration(variant)), 0o600) }
	t.subject = s
	if err := os.WriteFile(t.below("password"), []byte(secret+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write password file: %w", err)
	}
	if err := os.MkdirAll(t.stateDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := s.write(0); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return s, nil
}

// start starts it. It is not up yet. before runs on the thread that starts it.
func (s *subject) start(before func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := []string{"run", s.config}
	if !s.begun {
		args = append(args, "-r")
	}
	cmd := exec.Command(s.program, args...)
	// A test binary does what its name says.
	cmd.Args[0] = "sersync"
	cmd.Env = s.env
	s.began = time.Now()
	p, err := start(cmd, s.output, before)
	if err == nil {
		s.proc, s.begun = p, true
	}
	return err
}

// watchBy has the next start notice changes in another way.
func (s *subject) watchBy(way string) error {
	s.watch = way
	if err := s.write(s.variant); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// running is the process; nil while it is down.
func (s *subject) running() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// since is when the newest life began.
func (s *subject) since() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// up returns when it can be asked.
func (s *subject) up(ctx context.Context) error {
	return poll(ctx, patience, "the daemon under test to be up", func() (bool, error) {
		if p := s.running(); p != nil && p.ended() && exitCode(p.err) == exitHeld {
			// A child that had not begun its program yet holds the locks of the one that was killed for a few milliseconds more.
			s.held++
			return false, s.start(nil)
		}
		if err := s.alive(); err != nil {
			return false, err
		}
		_, err := s.client.Version(ctx)
		return err == nil, nil
	})
}

// unbraked is an error when removals are held: nothing here is a reason for that, and only a person could release them.
func (s *subject) unbraked(ctx context.Context) error {
	status, err := s.client.Status(ctx)
	if err != nil {
		return s.alive()
	}
	for _, source := range status.Sources {
		if source.Brake != nil {
			return fmt.Errorf("the daemon under test holds removals (%s): %s", source.Brake.Kind, source.Brake.Reason)
		}
	}
	return nil
}

// exitHeld is with what it ends when another process does the same.
const exitHeld = 5

func exitCode(err error) int {
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		return exited.ExitCode()
	}
	return 0
}

// alive is an error when it ended by itself.
func (s *subject) alive() error {
	if p := s.running(); p != nil && p.ended() {
		return fmt.Errorf("the daemon under test ended by itself (%v): %s", p.err, tail(s.output))
	}
	return nil
}

// kill ends it at once, as kill -9 does. It may be down.
func (s *subject) kill() error {
	p := s.down()
	if p == nil {
		return nil
	}
	return errors.Join(p.signal(unix.SIGKILL), p.wait(patience))
}

// stop ends it as a service manager does.
func (s *subject) stop() error {
	p := s.running()
	if p == nil {
		return nil
	}
	if err := p.signal(unix.SIGTERM); err != nil {
		return err
	}
	err := p.wait(stopTime)
	s.down()
	if err != nil {
		return errors.Join(fmt.Errorf("stop the daemon under test: %w", err), p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("the daemon under test was stopped and ended with: %w: %s", p.err, tail(s.output))
	}
	return nil
}

func (s *subject) down() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.proc
	s.proc = nil
	return p
}

// reload gives it another configuration.
func (s *subject) reload() error {
	s.variant++
	if err := s.write(s.variant); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if p := s.running(); p != nil {
		return p.signal(unix.SIGHUP)
	}
	return nil
}

// owed says how many paths the targets lack, over all, and how old the oldest change is.
func owed(s httpd.Status) (paths int, lag time.Duration) {
	for _, source := range s.Sources {
		for _, t := range source.Targets {
			paths += t.Waiting
			lag = max(lag, time.Duration(t.Lag*float64(time.Second)))
		}
	}
	return paths, lag
}

// state is a line of what the targets say.
func state(s httpd.Status) string {
	var all []string
	for _, source := range s.Sources {
		for i, t := range source.Targets {
			text := fmt.Sprintf("target %d is %s, lacks %d (%d to be tried again, %d held, %d dead)", i+1, t.State, t.Waiting, t.Retrying, t.Held, t.Dead)
			if t.LastError != nil {
				text += ", last error: " + t.LastError.Text
			}
			all = append(all, text)
		}
	}
	return strings.Join(all, "; ")
}
