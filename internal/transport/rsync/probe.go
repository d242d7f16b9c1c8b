package rsync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// removeWithin bounds the removal of the file, also when the time of the Probe itself is over.
const removeWithin = 30 * time.Second

// cutSettle is how long a receiver that was cut off may take to put a file of some bytes in place.
const cutSettle = 2 * time.Second

// Probe writes a small file of its own into the target, and removes it again, whatever happened. Nothing that is there is
// replaced, and no directory is made. An error says why the file could not be written. A target that would not let it be removed gets none.
func (t *Transport) Probe(ctx context.Context) (p transport.Probed, err error) {
	f, err := newProbeFile()
	if err != nil {
		return p, err
	}
	defer f.close()
	p = transport.Probed{Name: f.name, Times: transport.GrainUnknown, Modes: transport.Unknown, Owners: transport.Unknown}
	s, err := t.spawnerFor(f.root)
	if err != nil {
		return p, err
	}
	defer s.release()
	if err := t.learnHere(ctx, s); err != nil {
		return p, err
	}
	q := prober{t: t, s: s, f: f, old: t.old()}
	if err := t.probe(ctx, s, probe, q.old); err != nil {
		if q.old || t.probe(ctx, s, probe, true) != nil {
			return p, err
		}
		q.old = true
	}
	if err := t.probe(ctx, s, probeRemovals, q.old); err != nil {
		return p, &transport.Error{Kind: transport.RemovalsRefused, Hint: hintRemoval, Err: fmt.Errorf("nothing is written that could not be removed again: %w", err)}
	}
	defer func() {
		if q.wrote {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
			defer cancel()
			p.Left = q.clear(ctx)
		}
	}()
	return p, q.ask(ctx, &p)
}

// prober is one Probe.
type prober struct {
	t   *Transport
	s   *spawner
	f   *probeFile
	old bool
	// wrote says that the file may be there, whatever came of the run; cut, that the receiver may still be at work.
	wrote, cut bool
}

// ask writes the file twice, first with the target's own time and then with all attributes, and has what is stored compared
// with what was sent.
func (q *prober) ask(ctx context.Context, p *transport.Probed) error {
	p.Before = time.Now()
	first, err := q.run(ctx, "--ignore-existing")
	p.After = time.Now()
	if err != nil {
		return err
	}
	if first == "" {
		return &transport.Error{Kind: transport.Broken, Err: errors.New("rsync says nothing of the file it was to send")}
	}
	p.Stamp, p.NoStamp = q.list(ctx)
	if err := q.f.alter(); err != nil {
		return err
	}
	window := []string{"--modify-window=-1"}
	if q.old {
		window = nil
	}
	attributes := []string{"--times", "--perms", "--owner", "--group", "--numeric-ids"}
	sent, err := q.run(ctx, append(attributes, window...)...)
	if err != nil {
		return err
	}
	compare := append(attributes, "--dry-run")
	left, err := q.run(ctx, append(compare, window...)...)
	if err != nil {
		return err
	}
	p.Modes = kept(sent, left, itemPerms)
	if os.Geteuid() == 0 {
		p.Owners = kept(sent, left, itemOwner, itemGroup)
	}
	switch {
	case !tells(left, itemTime) && q.old:
		p.Times = transport.Seconds
	case !tells(left, itemTime):
		p.Times = transport.Nanoseconds
	default:
		if left, err = q.run(ctx, compare...); err != nil {
			return err
		}
		p.Times = transport.Seconds
		if tells(left, itemTime) {
			p.Times = transport.Coarse
		}
	}
	return nil
}

// Places of letters in what %i prints; rsync(1), --itemize-changes.
const (
	itemTime  = 4
	itemPerms = 5
	itemOwner = 6
	itemGroup = 7
)

// tells reports whether the attribute differed.
func tells(what string, attribute int) bool {
	return len(what) > attribute && strings.IndexByte("tTpog", what[attribute]) >= 0
}

// kept: they were sent, and do not differ any more. A side that may not set one does not compare it either.
func kept(sent, left string, attributes ...int) transport.Kept {
	for _, attribute := range attributes {
		if !tells(sent, attribute) || tells(left, attribute) {
			return transport.Lost
		}
	}
	return transport.Stored
}

// run sends the file with some options, and returns what rsync did to it; empty for nothing.
func (q *prober) run(ctx context.Context, options ...string) (what string, err error) {
	o := &q.t.o
	args := append(q.options(), options...)
	// Both names are those of a file: with the name of a directory rsync would make it.
	args = append(args, "--", "./"+q.f.name, o.destination()+q.f.name)
	r, err := q.s.startRun(o, probe, args)
	if err != nil {
		return "", startError(err)
	}
	name := change.Path(q.f.name)
	c := newClassifier(o, q.s.rootName(), update, []change.Path{name})
	e := r.finish(ctx, nil, q.t.limits(), func(line []byte) error {
		if it, ok := parseItem(line); ok && it.path == name {
			what, _, _ = strings.Cut(string(line), "|")
		}
		c.output(line)
		return nil
	})
	q.wrote = q.wrote || !e.unconnected() && !slices.Contains([]int{exitUsage, exitFiles, exitUnsupported, exitStart}, e.trueCode())
	q.cut = e.cause != nil || e.code != 0 && !receiverEnded(e.trueCode())
	return what, q.verdict(c, e)
}

// verdict is why the one file of a run is not as it should be.
func (q *prober) verdict(c *classifier, e ending) error {
	var report transport.Report
	if err := c.verdict(e, 0, &report); err != nil {
		return err
	}
	if len(report.Failed) > 0 {
		return &transport.Error{
			Kind: transport.Misconfigured, Err: report.Failed[0].Err,
			Hint: "let the target's user (\"uid\" of the daemon's module, or who logs in by ssh) write in the target's directory",
		}
	}
	return nil
}

// options are those of every run: how to get there, and nothing of what the user wants of his files.
func (q *prober) options() []string {
	args := []string{outFormat, "--timeout=" + seconds(q.t.o.Timeout)}
	for _, p := range q.t.o.Params {
		if strings.HasPrefix(p, "--rsync-path=") {
			args = append(args, p)
		}
	}
	return append(args, q.t.o.connection()...)
}

// list asks for the time that the file has there.
func (q *prober) list(ctx context.Context) (time.Time, error) {
	path, err := exec.LookPath(q.t.o.Program)
	if err != nil {
		return time.Time{}, startError(err)
	}
	args := append(q.options(), "--list-only", "--", q.t.o.destination()+q.f.name)
	// Times are listed in our zone.
	out, err := q.t.output(ctx, q.s, append(q.t.o.env(), "TZ=UTC0"), path, args...)
	if err != nil {
		return time.Time{}, fmt.Errorf("list the file there: %w", err)
	}
	return listedTime(out)
}

// listing is a line of --list-only, with the size as any version writes it.
var listing = pattern(`(?m)^-\S{9}\s+[0-9,.]+ (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) `)

func listedTime(out string) (time.Time, error) {
	m := listing().FindStringSubmatch(out)
	if m == nil {
		return time.Time{}, fmt.Errorf("find the time in the listing %q", out)
	}
	at, err := time.Parse("2006/01/02 15:04:05", m[1])
	if err != nil {
		return time.Time{}, fmt.Errorf("read the time in the listing %q: %w", out, err)
	}
	return at, nil
}

// clear removes the file there, and nil says that it is gone. A receiver that was cut off may still put its file in place: it is
// removed again when that has ended.
func (q *prober) clear(ctx context.Context) error {
	if err := q.f.remove(); err != nil {
		return err
	}
	cut := q.cut
	err := q.remove(ctx)
	if !cut {
		return err
	}
	select {
	case <-time.After(cutSettle):
		return q.remove(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *prober) remove(ctx context.Context) error {
	o := &q.t.o
	// Without --force: it is a file, or it is none of ours.
	args := append(q.options(), "--delete-missing-args", "--", "./"+q.f.name, o.destination()+q.f.name)
	r, err := q.s.startRun(o, remove, args)
	if err != nil {
		return startError(err)
	}
	c := newClassifier(o, q.s.rootName(), remove, []change.Path{change.Path(q.f.name)})
	e := r.finish(ctx, nil, q.t.limits(), func(line []byte) error { c.output(line); return nil })
	return q.verdict(c, e)
}
