package config

import (
	"testing"
	"time"
)

func TestSchedulesAreThoseOfCron(t *testing.T) {
	from := time.Date(2026, 2, 27, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"0 3 * * *":     time.Date(2026, 2, 28, 3, 0, 0, 0, time.Local),
		" 30 4 * * 1 ":  time.Date(2026, 3, 2, 4, 30, 0, 0, time.Local),
		"0 0 29 2 *":    time.Date(2028, 2, 29, 0, 0, 0, 0, time.Local),
		"*/15 12 * * *": time.Date(2026, 2, 27, 12, 15, 0, 0, time.Local),
		"@daily":        time.Date(2026, 2, 28, 0, 0, 0, 0, time.Local),
	} {
		s, err := ParseSchedule(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := s.Next(from); !got.Equal(want) {
			t.Errorf("%q is due at %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "3", "60 * * * *", "* * * *", "0 0 31 2 *", "@every 1s", "@noon", "TZ=UTC", "CRON_TZ=", "TZ=UTC 0 3 * * *", "0 0 3 * * *"} {
		if _, err := ParseSchedule(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	for _, seed := range []string{"0 3 * * *", "*/5 1-3,7 1 JAN-DEC mon", "@daily", "TZ=", "? ? ? ? ?", "1-59/7 */0 * * *", "0-18446744073709551615 * * * *"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		now := time.Now()
		if next := s.Next(now); !next.After(now) {
			t.Errorf("%q is due at %v, which is not after %v", text, next, now)
		}
	})
}
