package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// speed measures the fill, the steady write, the burst, and reading it all.
func speed(ctx context.Context, base string, c contestant, add func(row, cell string)) error {
	for _, dirs := range []int{50_000, 200_000} {
		if err := speedOf(ctx, base, c, dirs, add); err != nil {
			return err
		}
	}
	return nil
}

func speedOf(ctx context.Context, base string, c contestant, dirs int, add func(row, cell string)) error {
	dir, err := os.MkdirTemp(base, "speed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rows := fmt.Sprintf("%d rows", dirs*(filesIn+1))
	r, err := must(ctx, "fill", c, dir, dirs)
	if err != nil {
		return err
	}
	add("fill, "+rows+": wall, CPU", fmt.Sprintf("%s, %s", seconds(r.Fill.Wall), seconds(r.Fill.CPU)))
	add("fill, "+rows+": on disk", mega(r.Size))
	if dirs == 50_000 {
		if r, err = must(ctx, "steady", c, dir, dirs); err != nil {
			return err
		}
		addSteady(r, add)
	}
	if err := chill(dir); err != nil {
		return err
	}
	if r, err = must(ctx, "read", c, dir, dirs); err != nil {
		return err
	}
	if !r.Content.Whole {
		return fmt.Errorf("read %+v, which is not what was written", r.Content)
	}
	if dirs == 50_000 {
		rows = fmt.Sprintf("%d rows, after those writes", r.Content.Rows)
	}
	add("open and read, "+rows+": wall, CPU", fmt.Sprintf("%s, %s", seconds(r.Read.Wall), seconds(r.Read.CPU)))
	add("open and read, "+rows+": memory, of it mapped", fmt.Sprintf("%s, %s", mega(r.Memory.Own+r.Memory.Mapped), mega(max(r.Memory.Mapped, 0))))
	return nil
}

func addSteady(r results, add func(row, cell string)) {
	rows := float64(r.Rows)
	add("steady commit: p50, p99", fmt.Sprintf("%.0f ms, %.0f ms", ms(r.P50), ms(r.P99)))
	add("steady, a changed row: CPU", fmt.Sprintf("%.1f µs", float64(r.Steady.CPU)/rows/1000))
	add("steady, a changed row: written to disk", fmt.Sprintf("%.0f B", float64(r.Steady.Written)/rows))
	add("on disk after it", mega(r.Size))
	add("burst of 10000 rows: wall, CPU", fmt.Sprintf("%.0f ms, %.0f ms", ms(r.Burst.Wall), ms(r.Burst.CPU)))
}

// syncTime is the median of some synced writes of one block.
func syncTime(dir string) string {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	start := time.Now()
	const times = 50
	for range times {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return err.Error()
		}
		if err := f.Sync(); err != nil {
			return err.Error()
		}
	}
	return fmt.Sprintf("%.2f ms", ms(time.Since(start)/times))
}

func ms(d time.Duration) float64     { return float64(d) / float64(time.Millisecond) }
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
func mega(n int64) string            { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
