package torture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sersync/internal/httpd"
	"sersync/internal/tree"
)

const (
	// opEvery is the time between two operations of a writer.
	opEvery = 4 * time.Millisecond
	// stayMax is how many operations a writer does in one area before it goes to another one.
	stayMax = 1500
	// largeMax is the size of large files, in bytes; from 1 MiB on they go in their lane.
	largeMax = 2 << 20
)

// write changes the source until ctx ends.
func (t *torture) write(ctx context.Context, stream uint64) error {
	rnd := t.random(10 + stream)
	ws := make([]*tree.Writer, areas)
	for i := range ws {
		ws[i] = tree.NewWriter(t.area(i), t.o.Seed, 100*stream+uint64(i))
		ws[i].Touched, ws[i].Large, ws[i].Away = t.oracle.touched, largeMax, t.below("away")
	}
	tick := time.NewTicker(opEvery)
	defer tick.Stop()
	w, stay := ws[0], 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if stay--; stay < 0 {
			w, stay = ws[rnd.IntN(areas)], rnd.IntN(stayMax)
		}
		if err := w.Step(); err != nil {
			return fmt.Errorf("change the source: %w", err)
		}
		t.ops.Add(1)
	}
}

// begin starts the daemon under test and waits until every target has the first tree.
func (t *torture) begin(ctx context.Context) error {
	if err := t.subject.start(nil); err != nil {
		return err
	}
	if err := t.subject.up(ctx); err != nil {
		return err
	}
	if err := t.everythingThere(ctx); err != nil {
		return err
	}
	if t.power != nil {
		if err := t.power.filled(ctx, t.targets[0]); err != nil {
			return err
		}
	}
	for i, g := range t.targets {
		if g.witness != nil {
			if _, err := g.witness.read(); err != nil {
				return err
			}
		}
		t.oracle.caughtUp(i, time.Now())
	}
	t.feed.take()
	t.oracle.full(time.Now())
	return nil
}

// calmTime bounds the wait for the targets at the end.
const calmTime = 3 * time.Minute

// everythingThere waits until all that was written is on the targets.
func (t *torture) everythingThere(ctx context.Context) error {
	late, cancel := context.WithTimeout(ctx, calmTime)
	defer cancel()
	// The first wait ends when what a comparison found is owed, the second when it is there.
	for range 2 {
		if _, err := t.subject.client.Wait(late, httpd.WaitRequest{}); err != nil {
			status, _ := t.subject.client.Status(ctx)
			return fmt.Errorf("wait for the targets: %w; %s", err, state(status))
		}
	}
	return nil
}

// watchLag notes, as long as ctx lasts, of which moments a target has everything.
func (t *torture) watchLag(ctx context.Context, target int) error {
	for pause(ctx, time.Second) {
		asked := time.Now()
		_, err := t.subject.client.Wait(ctx, httpd.WaitRequest{Target: t.targets[target].url(), Timeout: 20})
		var e *httpd.Error
		switch {
		case err == nil:
			t.oracle.caughtUp(target, asked)
		case ctx.Err() == nil && errors.As(err, &e) && e.Kind == httpd.Unknown:
			return fmt.Errorf("ask the daemon under test: %w", err)
		}
	}
	return nil
}

// progressEvery is how often is said how far it is, where lines cannot be replaced.
const progressEvery = 10 * time.Second

// progress says how far it is until ctx ends.
func (t *torture) progress(ctx context.Context) error {
	began := time.Now()
	every, show := progressEvery, func(text string) { fmt.Fprintln(t.o.Out, text) }
	if t.o.Line != nil {
		every, show = time.Second, t.o.Line
	}
	for pause(ctx, every) {
		behind := "it is down"
		if status, err := t.subject.client.Status(ctx); err == nil {
			paths, lag := owed(status)
			behind = fmt.Sprintf("%d owed, lag %v", paths, lag.Round(100*time.Millisecond))
		}
		t.mu.Lock()
		sent, wrong := t.sent, len(t.wrong)
		t.mu.Unlock()
		show(fmt.Sprintf("%4.0fs  %d operations, %d kills, %d other harms, %d cuts, %d sent, %d wrong; %s",
			time.Since(began).Seconds(), t.ops.Load(), t.harms.count(killed), t.harms.total()-t.harms.count(killed), t.cuts(), sent, wrong, behind))
	}
	return nil
}

func (t *torture) cuts() (n int) {
	for _, g := range t.targets {
		if g.relay != nil {
			_, cut := g.relay.counts()
			n += cut
		}
	}
	return n
}
