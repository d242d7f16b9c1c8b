package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	for _, test := range []struct {
		name    string
		samples []time.Duration
		p       float64
		want    time.Duration
	}{
		{"none", nil, 50, 0},
		{"one", []time.Duration{7}, 99, 7},
		{"median of two is the lower", []time.Duration{9, 3}, 50, 3},
		{"p50", hundred, 50, 50},
		{"p95", hundred, 95, 95},
		{"p99", hundred, 99, 99},
		{"smallest", hundred, 0, 1},
		{"largest", hundred, 100, 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := percentile(test.samples, test.p); got != test.want {
				t.Errorf("percentile(%v) = %d, want %d", test.p, got, test.want)
			}
		})
	}
	if hundred[0] != 100 {
		t.Error("percentile sorted the samples of its caller")
	}
}

func TestMedianRatioComparesRoundByRound(t *testing.T) {
	// The second round was a slow one for both.
	a, b := []time.Duration{11, 220, 10}, []time.Duration{10, 200, 10}
	if got := medianRatio(a, b); got != 1.1 {
		t.Errorf("medianRatio = %v, want 1.1", got)
	}
}

func TestTableIsAlignedAndSaysWhatIsShort(t *testing.T) {
	table := table{Machine: "a machine", row: "burst"}
	table.info("bare", 0.15, "s", "")
	table.atMost("ours", 2, 1.5, "times", "slow")
	table.atLeast("theirs", 3, 3, "times", "")
	table.fail(errors.New("no\nluck"))
	var out strings.Builder
	table.print(&out)
	want := `
a machine

| row   | what   | measured   | target       | verdict | note |
|-------|--------|------------|--------------|---------|------|
| burst | bare   | 0.15 s     |              |         |      |
| burst | ours   | 2.00 times | ≤ 1.50 times | short   | slow |
| burst | theirs | 3.00 times | ≥ 3.00 times | ok      |      |

- not measured, row burst: no luck
`
	if out.String() != want {
		t.Errorf("printed %s\nwant %s", out.String(), want)
	}
	if !table.short() || !table.failed() {
		t.Errorf("short = %t, failed = %t, want both", table.short(), table.failed())
	}
}

func TestPromptAfterBeginsBehindTheLastLateProbe(t *testing.T) {
	began := time.Unix(0, 0)
	at := func(n int) time.Time { return began.Add(time.Duration(n) * time.Second) }
	probes := []probe{
		{written: at(1), arrived: at(5)}, // late
		{written: at(2), arrived: at(2)},
		{written: at(3)}, // lost
		{written: at(4), arrived: at(4)},
		{written: at(5), arrived: at(5)},
	}
	if got := promptAfter(probes, began); got != 4*time.Second {
		t.Errorf("promptAfter = %v, want the time of the probe behind the lost one", got)
	}
	if got := firstLag(probes); got != 4*time.Second {
		t.Errorf("firstLag = %v, want 4s", got)
	}
}

func TestEnoughPromptWantsAnUnbrokenRun(t *testing.T) {
	now := time.Unix(1000, 0)
	probes := make([]probe, promptRun+3)
	for i := range probes {
		written := now.Add(time.Duration(i-len(probes)) * probeEvery)
		probes[i] = probe{written: written, arrived: written}
	}
	probes[len(probes)-1].arrived = time.Time{} // on its way
	if !enoughPrompt(probes, now) {
		t.Error("a probe that is still on its way broke the run")
	}
	probes[len(probes)/2].arrived = time.Time{}
	if enoughPrompt(probes, now) {
		t.Error("a probe that never arrived did not break the run")
	}
}
