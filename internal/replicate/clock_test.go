package replicate

import (
	"testing"
	"time"
)

type daily struct{}

func (daily) Next(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location())
}

// A clock that was years ahead and is set right does not put off a comparison by years, nor does a small correction bring one twice.
func TestClockThatWasSetBackPutsNoComparisonOff(t *testing.T) {
	a := agenda{from: time.Now()}
	look := func(at string, want bool) {
		t.Helper()
		now, err := time.ParseInLocation(time.DateTime, at, time.Local)
		if err != nil {
			t.Fatal(err)
		}
		isDue, wait := a.due(daily{}, 0, now)
		if isDue != want || wait > time.Minute {
			t.Errorf("at %s: due %v in %v, want %v", at, isDue, wait, want)
		}
	}
	look("2035-06-01 12:00:00", false) // a machine that lost its clock
	look("2035-06-02 00:00:01", true)
	look("2026-11-21 12:00:00", false) // set right
	look("2026-11-22 00:00:01", true)
	look("2026-11-21 23:59:59", false)
	look("2026-11-22 00:00:01", false) // it was there
	look("2026-11-23 00:00:00", true)
}
