package replicate

import (
	"context"
	"time"

	"sersync/internal/hook"
)

const (
	// levelEvery is how often is looked whether there is something to tell of a state.
	levelEvery = time.Second
	// levelSlow is how often it is at the least of the oldest change of a target: all that it is owed is looked at for that.
	levelSlow = 30 * time.Second
)

// levelFact begins the names of the facts.
const levelFact = "hook "

// fact is the name under which is kept which state a hook was told of last.
func (t *teller) fact() string { return levelFact + string(t.On) + " " + t.key }

// watch tells the hook of a state until ctx ends. What it was told is kept: after a kill it is told again at the most, and
// what is over before it could be told is not told at all.
func (t *teller) watch(ctx context.Context) {
	every := levelEvery
	if t.On == hook.Behind {
		every = min(levelSlow, max(every, t.After/20))
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var away backoff
	var told string
	t.src.journal.Fact(t.fact(), &told)
	if s := t.src.sender(t.target); s != nil && told != "" && t.On != hook.Behind {
		s.ask()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Now().Before(away.until) {
			continue
		}
		now, known := t.level()
		t.src.journal.Fact(t.fact(), &told)
		next, tell := t.step(told, now)
		if !known || next == told && !tell {
			continue
		}
		if tell && t.On == hook.TargetDown {
			t.awaitUp()
		}
		if tell && t.call(ctx, t.ofState(now)) != nil {
			away.fail()
			continue
		}
		away.ok()
		t.src.journal.SetFact(t.fact(), next)
	}
}

// awaitUp has the hooks that are told when the target is up know that it is down: it may be up again before they look, and who is told that it is down is
// told when that is over.
func (t *teller) awaitUp() {
	for _, up := range t.src.hooks() {
		if up.On == hook.TargetUp && up.target == t.target && up.After <= t.After {
			t.src.journal.SetFact(up.fact(), "down")
		}
	}
}

// step is what is to be kept, and whether something is to be told, when the state is now; empty is that nothing is to be said
// of it.
func (t *teller) step(told, now string) (next string, tell bool) {
	if t.On == hook.TargetUp {
		// It was down, and it is over.
		return now, told != "" && now == ""
	}
	return now, now != "" && now != told
}

// level is the state that the hook is about; empty is that nothing is to be said of it. known is false while nobody knows.
func (t *teller) level() (state string, known bool) {
	if t.On == hook.DeletesHeld {
		if b := t.src.brake.shown(); b != nil && time.Since(b.Since) >= t.After {
			return b.Kind + " " + b.Since.UTC().Format(time.RFC3339Nano), true
		}
		return "", true
	}
	s := t.src.sender(t.target)
	if s == nil {
		return "", false
	}
	if t.On == hook.Behind {
		if since, ok := s.owed.Oldest(); ok && time.Since(since) >= t.After {
			return "behind", true
		}
		return "", true
	}
	switch since, tried := s.report.downSince(); {
	case since.IsZero():
		return "", tried
	case time.Since(since) < t.After:
		return "", false
	}
	return "down", true
}

// ofState is the event of a state.
func (t *teller) ofState(state string) hook.Event {
	e := t.event()
	st := t.src.Status()
	if b := st.Brake; b != nil && t.On == hook.DeletesHeld {
		e.State, e.Since, e.Error, e.Waiting = b.Kind, b.Since, b.Reason, b.Held
		e.Hint = "bring the source back as it was, or run 'sersync deletes approve' when it is meant to be so"
	}
	for _, s := range st.Targets {
		if s.Name != t.target {
			continue
		}
		e.State, e.Since, e.Waiting = s.State, s.Since, s.Waiting
		e.Lag = time.Duration(s.Lag * float64(time.Second))
		if s.NextTry != nil && s.LastError != nil {
			e.Error, e.Hint = s.LastError.Text, s.LastError.Hint
		}
	}
	e.ID = idOf(t.key+" "+state+" "+e.Since.String(), nil)
	return e
}

// sender is that of a target; nil while there is none.
func (s *Source) sender(target string) *sender {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.senders[target]; r != nil {
		return r.sender
	}
	return nil
}
