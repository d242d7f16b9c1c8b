package replicate

import (
	"context"
	"time"

	"sersync/internal/transport"
)

const (
	// trashAgain is how often is looked whether a new day has come, and how long after a failure the trash is emptied again.
	trashAgain = time.Hour
	// clockTrust is by how much the clock may be set while nothing follows from it, clockWait for how long nothing is removed
	// from the trash after it was set by more: time for somebody to set it right.
	clockTrust, clockWait = time.Hour, 24 * time.Hour
)

// expiry is when the trash of one target is emptied of what is too old: at the start, and once each day.
type expiry struct {
	// last is when the clock was looked at, done the day for which the trash was emptied.
	last time.Time
	done string
	// wait is for how long nothing is removed.
	wait time.Duration
}

// due reports whether the trash is to be emptied now, and whether the clock was set by much since the last look. passed is the
// time since then that did not depend on the clock.
func (e *expiry) due(now time.Time, passed time.Duration) (isDue, wasSet bool) {
	e.wait -= min(e.wait, passed)
	if !e.last.IsZero() {
		drift := now.Round(0).Sub(e.last.Round(0)) - passed
		wasSet = drift.Abs() > clockTrust
	}
	if wasSet {
		e.wait = clockWait
	}
	e.last = now
	return e.done != transport.Day(now) && e.wait == 0, wasSet
}

// runTrash removes from the target's trash what is older than its days.
func (s *sender) runTrash(ctx context.Context) {
	trash, ok := s.opts.Transport.(transport.Keeper)
	if !ok || s.opts.TrashDays <= 0 {
		return
	}
	var e expiry
	said := ""
	tick := time.NewTicker(trashAgain)
	defer tick.Stop()
	for s.gate.wait(ctx) {
		now := time.Now()
		isDue, wasSet := e.due(now, now.Sub(e.last))
		if wasSet {
			s.log.Warn("the clock was set, nothing is removed from the trash for a day")
		}
		if isDue {
			// A target that is away says so without this.
			err := s.emptyTrash(ctx, trash, now)
			if err == nil {
				e.done, said = transport.Day(now), ""
			} else if ctx.Err() == nil && targetError(err).Kind != transport.Away && err.Error() != said {
				said = err.Error()
				s.log.Warn("the trash of the target could not be emptied, it is tried again each hour", "error", err, "hint", targetError(err).Hint)
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// emptyTrash keeps what was removed today and in the days before that the configuration names.
func (s *sender) emptyTrash(ctx context.Context, trash transport.Keeper, now time.Time) error {
	ctx, done := s.gate.within(ctx)
	defer done()
	days, err := trash.Expire(ctx, now.AddDate(0, 0, -s.opts.TrashDays))
	if err == nil && len(days) > 0 {
		s.log.Info("removed from the trash of the target what was too old", "days", days)
	}
	return err
}
