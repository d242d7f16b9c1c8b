package replicate

import (
	"testing"
	"time"
)

func TestBudgetIsExceeded(t *testing.T) {
	def := RemovalBudget{}.complete()
	for _, c := range []struct {
		budget    RemovalBudget
		had, gone int
		want      bool
	}{
		{def, 3, 3, false},
		{def, 99, 99, false},
		{def, 100, 50, false},
		{def, 100, 51, true},
		{def, 2000, 1000, false},
		{def, 2000, 1001, true},
		{def, 1_000_000, 200_000, false},
		{def, 1_000_000, 200_001, true},
		{def, 100, -100, false},
		{RemovalBudget{Most: 100}.complete(), 900, 900, false},
		{RemovalBudget{Paths: 10}.complete(), 50, 11, true},
		{RemovalBudget{Off: true}.complete(), 1_000_000, 1_000_000, false},
	} {
		if got := c.budget.exceeded(c.had, c.gone); got != c.want {
			t.Errorf("%v: %d of %d gone: %v, want %v", c.budget, c.gone, c.had, got, c.want)
		}
	}
}

func TestTheHighestSizeOfTheWindowIsRemembered(t *testing.T) {
	var s spending
	start := time.Now()
	at := func(seconds float64, paths, want int) {
		t.Helper()
		if had := s.sample(paths, 0, start.Add(time.Duration(seconds*float64(time.Second))), time.Minute); had.paths != want {
			t.Errorf("after %v s: %d, want %d", seconds, had.paths, want)
		}
	}
	at(0, 10, 10)
	at(1, 2000, 2000)
	at(1.1, 1500, 2000)
	at(30, 900, 2000)
	at(60, 800, 2000)
	at(62, 800, 900)
	at(121, 700, 800)
	at(500, 600, 600)
	at(501, 700, 700)
	// Undecided, it is not forgotten.
	s.over = start
	at(900, 10, 700)
	s.over = time.Time{}
	at(900, 10, 10)
	for i := range 10_000 {
		s.sample(10_000-i, 0, start.Add(time.Hour+time.Duration(i)*time.Millisecond), time.Minute)
	}
	if n := len(s.sizes); n > 70 {
		t.Errorf("%d sizes are kept", n)
	}
}
