package replicate

import (
	"context"
	"strings"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/hook"
)

// hookBytes bounds the names in one event.
const hookBytes = 256 << 10

// arrivedEvery is how often is looked whether all targets have what waits for them.
const arrivedEvery = time.Second

// run tells the hook of paths until ctx ends.
func (t *teller) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, t.Concurrency)
	outcomes := make(chan outcome, t.Concurrency)
	pace := pacing{most: t.Paths, max: t.Paths}
	arrived := time.NewTicker(arrivedEvery)
	defer arrived.Stop()
	for {
		wait := t.pause(pace.away.until)
		select {
		case <-ctx.Done():
			return
		case o := <-outcomes:
			<-free
			pace.learn(o)
			continue
		case <-arrived.C:
			if t.On == hook.AllTargetsAcked {
				t.queue.Arrived()
			}
			continue
		case <-t.retried:
			pace.away.ok()
		case <-t.queue.News():
		case <-wait:
		}
		if time.Now().Before(pace.away.until) || !t.queue.Pending() {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case o := <-outcomes:
			<-free
			pace.learn(o)
			continue
		case free <- struct{}{}:
		}
		if !t.gather(ctx) {
			return
		}
		marks := t.take(pace.most)
		if len(marks) == 0 {
			<-free
			continue
		}
		wg.Go(func() { outcomes <- t.deliver(ctx, marks) })
	}
}

// outcome is what came of a delivery: of how many paths was told in one event, or was to be, and why that failed. alone is that
// the path had failed before.
type outcome struct {
	paths int
	err   error
	alone bool
}

// pacing is how many paths the next event has, and when it may be told at the earliest: less and later while events fail.
type pacing struct {
	most, max int
	away      backoff
}

func (p *pacing) learn(o outcome) {
	switch {
	case o.paths == 0:
	case o.err == nil:
		p.most = min(p.max, p.most*2)
		p.away.ok()
	default:
		if !o.alone {
			// It may be one of its paths that fails the event.
			p.most = max(1, min(p.most, o.paths)/2)
		}
		p.away.fail()
	}
}

// pause is a channel that says when there may be something to do without news.
func (t *teller) pause(until time.Time) <-chan time.Time {
	now := time.Now()
	if until.After(now) {
		return time.After(until.Sub(now))
	}
	if t.queue.Pending() {
		return time.After(0)
	}
	if at, ok := t.queue.Next(); ok {
		return time.After(max(0, at.Sub(now)))
	}
	return nil
}

// gather waits for more to tell of at once. It reports false when ctx ends.
func (t *teller) gather(ctx context.Context) bool {
	if t.Gather <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(t.Gather):
		return true
	}
}

// take takes what goes in one event.
func (t *teller) take(most int) []change.Mark {
	marks := t.queue.Take(most)
	size := 0
	for i, m := range marks {
		if size += len(m.Path); size > hookBytes && i > 0 {
			t.queue.PutBack(marks[i:]...)
			return marks[:i]
		}
	}
	return marks
}

// deliver tells of marks: those that the same targets lack in one event. What failed by itself before is told by itself, one path
// a delivery and after all others, so that it keeps nothing back.
func (t *teller) deliver(ctx context.Context, marks []change.Mark) (done outcome) {
	groups := map[string][]change.Mark{}
	var order, lacking []string
	var again []change.Mark
	for _, m := range marks {
		missing, wait := t.missing(m)
		switch {
		case wait:
			continue
		case t.queue.Tries(m.Path) > 0:
			if len(again) == 0 {
				lacking = missing
			}
			again = append(again, m)
			continue
		}
		key := strings.Join(missing, "\x00")
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], m)
	}
	for _, key := range order {
		var missing []string
		if key != "" {
			missing = strings.Split(key, "\x00")
		}
		told, err := t.tell(ctx, groups[key], missing)
		done.paths = max(done.paths, told)
		if done.err == nil {
			done.err = err
		}
	}
	if len(again) == 0 {
		return done
	}
	t.queue.PutBack(again[1:]...)
	if done.err != nil {
		t.queue.PutBack(again[0])
		return done
	}
	told, err := t.tell(ctx, again[:1], lacking)
	if done.paths == 0 {
		return outcome{paths: told, err: err, alone: true}
	}
	return done
}
