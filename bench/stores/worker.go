package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

const (
	// batch is how many rows a transaction of the first fill has, burstRows those of a burst.
	batch, burstRows   = 50_000, 10_000
	steadyTransactions = 200
	bursts             = 5
)

// results is what a worker found; each job fills its own part.
type results struct {
	Fill, Steady, Burst, Read usage
	// P50 and P99 are of the commits of the steady write, Rows the rows it changed.
	P50, P99 time.Duration
	Rows     int
	// Size is what the store occupies at the end, still open.
	Size    int64
	Memory  memory
	Content content
	// Outcome is what happened, in words.
	Outcome string
}

// jobs are what a worker process does with one store: each begins with a process of its own, so that memory and CPU are
// its own and a crash is too.
var jobs = map[string]func(c contestant, dir string, dirs int) (results, error){
	"fill": fillJob, "steady": steadyJob, "read": readJob, "kill": killJob, "commits": commitsJob, "full": fullJob,
}

func fillJob(c contestant, dir string, dirs int) (r results, err error) {
	txs := newModel().fill(dirs, batch)
	runtime.GC()
	s, err := c.open(dir)
	if err != nil {
		return r, err
	}
	if r.Fill, err = measure(func() error { return commitAll(s, txs) }); err != nil {
		return r, err
	}
	if r.Size, err = sizeOnDisk(dir); err != nil {
		return r, err
	}
	return r, s.close()
}

func commitAll(s store, txs []transaction) error {
	for _, tx := range txs {
		if err := s.commit(tx.changes); err != nil {
			return err
		}
	}
	return nil
}

// steadyJob goes on with a store that was filled. What is written once a second is written without a pause here, and
// closing counts, so that work a store puts off is in the figures.
func steadyJob(c contestant, dir string, dirs int) (r results, err error) {
	m := newModel()
	m.fill(dirs, batch)
	var txs []transaction
	for range steadyTransactions {
		txs = append(txs, m.steady(2000, 200))
		r.Rows += txs[len(txs)-1].rows
	}
	runtime.GC()
	s, err := c.open(dir)
	if err != nil {
		return r, err
	}
	var times []time.Duration
	r.Steady, err = measure(func() error {
		for _, tx := range txs {
			start := time.Now()
			if err := s.commit(tx.changes); err != nil {
				return err
			}
			times = append(times, time.Since(start))
		}
		if r.Size, err = sizeOnDisk(dir); err != nil {
			return err
		}
		return s.close()
	})
	if err != nil {
		return r, err
	}
	slices.Sort(times)
	r.P50, r.P99 = times[len(times)/2], times[len(times)*99/100]
	r.Burst, err = burst(c, dir, m)
	return r, err
}

// burst is the median of some bursts, by their wall time.
func burst(c contestant, dir string, m *model) (usage, error) {
	s, err := c.open(dir)
	if err != nil {
		return usage{}, err
	}
	var all []usage
	for range bursts {
		tx := m.burst(burstRows)
		u, err := measure(func() error { return s.commit(tx.changes) })
		if err != nil {
			return usage{}, err
		}
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b usage) int { return int(a.Wall - b.Wall) })
	return all[len(all)/2], s.close()
}

func readJob(c contestant, dir string, _ int) (r results, err error) {
	before, err := resident()
	if err != nil {
		return r, err
	}
	var s store
	r.Read, err = measure(func() error {
		if s, err = c.open(dir); err != nil {
			return err
		}
		r.Content, err = contents(s)
		return err
	})
	if err != nil {
		return r, err
	}
	after, err := resident()
	r.Memory = memory{after.Own - before.Own, after.Mapped - before.Mapped, after.Peak - before.Peak}
	return r, err
}

// work is the main function of a worker: one job, its results as JSON on the last line.
func work(job, name, dir string, dirs int) error {
	at := slices.IndexFunc(contestants, func(c contestant) bool { return c.name == name })
	do := jobs[job]
	if at < 0 || do == nil {
		return fmt.Errorf("there is no job %q of %q", job, name)
	}
	r, err := do(contestants[at], dir, dirs)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
