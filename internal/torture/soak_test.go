package torture

import (
	"math"
	"testing"
	"time"
)

// What grows steadily is found under what goes up and down.
func TestTrendIsThatOfTheSamples(t *testing.T) {
	rss := func(s sample) float64 { return s.rss }
	var flat, rising []sample
	for i := range 60 {
		wave := 3 * math.Sin(float64(i))
		at := time.Duration(i) * time.Second
		flat = append(flat, sample{at: at, rss: 20 + wave})
		rising = append(rising, sample{at: at, rss: 20 + wave + 0.5*float64(i)})
	}
	if mean, growth := trend(flat, rss); math.Abs(mean-20) > 0.5 || math.Abs(growth) > 1 {
		t.Errorf("flat: %.1f, %+.1f", mean, growth)
	}
	if _, growth := trend(rising, rss); math.Abs(growth-29.5) > 1 {
		t.Errorf("rising: %+.1f", growth)
	}
}
