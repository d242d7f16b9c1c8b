package replicate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"sersync/internal/change"
	"sersync/internal/hook"
	"sersync/internal/journal"
)

// missing are the targets that lack what the hook is to be told of. wait says that they are waited for once more: the path was
// changed again.
func (t *teller) missing(m change.Mark) (missing []string, wait bool) {
	if t.On != hook.AllTargetsAcked {
		return nil, false
	}
	if missing = t.src.journal.Lacking(m.Path); len(missing) == 0 {
		return nil, false
	}
	row, _ := t.queue.Row(m.Path)
	if row.Due.IsZero() {
		row.Due = time.Now().Add(t.MaxWait)
	}
	if row.Tries == 0 && time.Now().Before(row.Due) {
		t.queue.Delay(row.Due, m)
		return nil, true
	}
	return missing, false
}

// tell makes one call and settles it. It returns of how many paths it told, or tried to.
func (t *teller) tell(ctx context.Context, marks []change.Mark, missing []string) (paths int, err error) {
	e := t.event()
	e.Missing = missing
	if t.On == hook.AllTargetsAcked {
		for _, target := range t.src.options().Targets {
			if !slices.Contains(missing, target.Name) {
				e.Targets = append(e.Targets, target.Name)
			}
		}
	}
	var told []change.Mark
	for _, m := range marks {
		if p, ok := t.path(m); ok {
			e.Paths = append(e.Paths, p)
			told = append(told, m)
		} else {
			t.queue.Ack(m)
		}
	}
	if len(told) == 0 {
		return 0, nil
	}
	e.ID = idOf(t.key, told)
	t.secure(told)
	err = t.call(ctx, e)
	switch {
	case err == nil:
		t.dying.Store(false)
		t.queue.Ack(told...)
	case ctx.Err() != nil || len(told) > 1:
		// Which of them it was is found out with less.
		t.queue.PutBack(told...)
	default:
		t.fail(told[0], err)
	}
	return len(told), err
}

// secure has the journal written before the hook is told. Else a kill could leave no trace of a path that it was told of, and
// nobody would tell that it is gone.
func (t *teller) secure(marks []change.Mark) {
	var newest uint64
	for _, m := range marks {
		newest = max(newest, m.Seq)
	}
	t.mu.Lock()
	done := newest <= t.secured
	t.mu.Unlock()
	if done {
		return
	}
	upTo := t.queue.Newest()
	if t.src.journal.Commit() != nil {
		return // the keeper of the journal says so
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secured = max(t.secured, upTo)
}

// fail keeps a path of which the hook could not be told: to be told later and later, and after too many tries as a dead letter.
func (t *teller) fail(m change.Mark, err error) {
	tries := t.queue.Tries(m.Path) + 1
	wait := exponential(time.Second, 5*time.Minute, tries)
	if tries >= t.DeadAfter {
		wait = time.Hour
	}
	if tries == t.DeadAfter && !t.dying.Swap(true) {
		t.log.Error("paths become dead letters of the hook", "path", m.Path.String(), "tries", tries, "error", err)
	}
	t.queue.Fail(m, err, time.Now().Add(wait), tries >= t.DeadAfter)
}

// path is what is told of a mark; false when there is nothing to tell any more.
func (t *teller) path(m change.Mark) (hook.Path, bool) {
	p := hook.Path{Path: m.Path, What: hook.Updated, Dir: m.Bits&change.WasDir != 0, Since: m.Since}
	switch {
	case m.Bits&change.Tree != 0:
		p.What, p.Dir = hook.Many, true
	case t.On == hook.Failed:
		row, ok := t.src.journal.RowOf(t.target, m.Path)
		if !ok || row.Tries == 0 {
			return p, false // it is there by now
		}
		p.What, p.Error, p.Tries, p.Dead = hook.NotTaken, row.Err, row.Tries, row.State == journal.Dead
	case m.Bits&change.Gone != 0:
		p.What = hook.Removed
	}
	return p, true
}

// event is what all events of the hook have in common.
func (t *teller) event() hook.Event {
	o := t.src.options()
	return hook.Event{Hook: t.Name, On: t.On, Source: o.Name, Root: o.Path, Target: t.target, Time: time.Now()}
}

// idOf tells one event from another: the same paths, changed as often, have the same.
func idOf(key string, marks []change.Mark) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\x00", key)
	for _, m := range marks {
		fmt.Fprintf(sum, "%d %s\x00", m.Seq, string(m.Path))
	}
	return hex.EncodeToString(sum.Sum(nil)[:12])
}

// call calls the hook once, and keeps what came of it.
func (t *teller) call(ctx context.Context, e hook.Event) error {
	t.mu.Lock()
	t.called++
	number := t.called
	t.calls[number] = time.Now()
	t.mu.Unlock()
	err := t.once(ctx, e)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.calls, number)
	switch {
	case err == nil:
		if t.last != nil && t.last.Last.After(t.at) {
			t.log.Info("the hook can be told again", "errors", t.last.Count)
		}
		t.told++
		t.at = time.Now()
	case ctx.Err() == nil:
		t.failures++
		t.failure(err)
	}
	return err
}

// once calls the hook for no longer than it may take.
func (t *teller) once(ctx context.Context, e hook.Event) error {
	own, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	err := t.Hook.Tell(own, e)
	if err != nil && own.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("not told within %v: %w", t.Timeout, err)
	}
	return err
}

// failure keeps the newest error, and says it once. The teller is locked.
func (t *teller) failure(err error) {
	now := time.Now()
	if l := t.last; l != nil && l.Text == err.Error() && l.Last.After(t.at) {
		again := *l
		again.Last, again.Count = now, l.Count+1
		t.last = &again
		return
	}
	t.log.Warn("the hook cannot be told, it is tried again", "error", err)
	t.last = &LastError{Text: err.Error(), Since: now, Last: now, Count: 1}
}
