package replicate

import (
	"testing"
	"time"

	"sersync/internal/transport"
)

func TestClockThatWasSetRemovesNothingForADay(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.Local)
	var e expiry
	look := func(by, passed time.Duration, wantDue, wantSet bool) {
		t.Helper()
		now = now.Add(by)
		isDue, wasSet := e.due(now, passed)
		if isDue != wantDue || wasSet != wantSet {
			t.Errorf("at %v: due %v, set %v; want %v, %v", now, isDue, wasSet, wantDue, wantSet)
		}
		if isDue {
			e.done = transport.Day(now)
		}
	}
	look(0, 0, true, false) // at the start
	look(time.Hour, time.Hour, false, false)
	look(20*time.Hour, 20*time.Hour, true, false) // the next day
	look(365*24*time.Hour, time.Hour, false, true)
	for range 23 {
		look(time.Hour, time.Hour, false, false)
	}
	look(-365*24*time.Hour, time.Hour, false, true) // set right in time
	look(24*time.Hour, 24*time.Hour, true, false)
	look(24*time.Hour+time.Minute, 24*time.Hour, true, false) // as ntpd does
}
