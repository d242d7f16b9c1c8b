package main

import (
	"math"
	"slices"
	"time"
)

// percentile is the smallest sample that at least p percent of the samples do not exceed (nearest rank); 0 of no
// samples.
func percentile(samples []time.Duration, p float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// median is the percentile that most figures are.
func median(samples []time.Duration) time.Duration {
	return percentile(samples, 50)
}
