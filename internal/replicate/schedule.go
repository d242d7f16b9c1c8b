package replicate

import (
	"context"
	"time"
)

// Schedule says when a sweep is due next after a time; the zero time is never.
type Schedule interface {
	Next(time.Time) time.Time
}

// wakeEvery is how often the clock is looked at while nothing is due: it may be set, and the machine may have slept.
const wakeEvery = time.Minute

// agenda is when the sweeps, or the verifications, of one target are due.
type agenda struct {
	at Schedule
	// next is when at is due next, looked when the clock was looked at last; both by the clock on the wall.
	next, looked time.Time
	// from is the end of the last sweep, or the start; swept is how many there were.
	from  time.Time
	swept int
	// asked: one is owed and not done yet. No other one is due before that.
	asked bool
}

// due reports whether one is due now, by either schedule, and else how long there is to wait at the least; negative is for ever.
func (a *agenda) due(at Schedule, every time.Duration, now time.Time) (bool, time.Duration) {
	if at != a.at {
		a.at, a.next = at, time.Time{}
		a.schedule(now)
	}
	if a.looked.Sub(now.Round(0)) > clockTrust {
		a.schedule(now) // the clock was set back
	}
	a.looked = now.Round(0)
	if !a.next.IsZero() && !now.Before(a.next) {
		a.schedule(now)
		if !a.asked {
			return true, 0
		}
	}
	wait := time.Duration(-1)
	if !a.next.IsZero() {
		wait = a.next.Sub(now)
	}
	if every > 0 && !a.asked {
		left := a.from.Add(every).Sub(now)
		if left <= 0 {
			return true, 0
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return false, min(wait, wakeEvery)
}

// schedule finds the next time after now, by the clock on the wall.
func (a *agenda) schedule(now time.Time) {
	if a.at != nil {
		a.next = a.at.Next(now).Round(0)
	}
}

// runSchedule owes the target a sweep each time that one is due.
func (s *sender) runSchedule(ctx context.Context) {
	a := agenda{from: time.Now()}
	for ctx.Err() == nil {
		if n, end := s.sweeps.whole(); n != a.swept {
			a.swept, a.from, a.asked = n, end, false
		}
		opts := s.src.options()
		isDue, wait := a.due(opts.SweepAt, opts.SweepEvery, time.Now())
		if isDue {
			a.asked = true
			s.log.Info("scheduled sweep")
			s.sweepAll()
			continue
		}
		var late <-chan time.Time
		if wait >= 0 {
			late = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-s.replan:
		case <-late:
		}
	}
}
