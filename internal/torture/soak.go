package torture

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// sampleEvery is the time between two samples, rowsMax how many rows of them are shown.
	sampleEvery = 3 * time.Second
	rowsMax     = 24
	// warmUp is the part of the time that is not judged: queues, caches and the tree itself grow to their usual size.
	warmUp = 1.0 / 3
)

// sample is how large the daemon under test is at a moment.
type sample struct {
	at time.Duration
	// rss is in MiB.
	rss, goroutines, descriptors, paths float64
}

// curve is one column of samples, and by how much it may grow after the warm-up: by that part of its mean, and by the slack.
type curve struct {
	name        string
	of          func(sample) float64
	part, slack float64
}

var curves = []curve{
	{"MiB resident", func(s sample) float64 { return s.rss }, 0.10, 6},
	{"goroutines", func(s sample) float64 { return s.goroutines }, 0.10, 10},
	{"descriptors", func(s sample) float64 { return s.descriptors }, 0.10, 10},
}

// soak measures the daemon under test until ctx ends, and says whether it grows.
func (t *torture) soak(ctx context.Context) error {
	began := time.Now()
	for pause(ctx, sampleEvery) {
		if err := t.subject.alive(); err != nil {
			return err
		}
		s, err := t.measure(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s.at = time.Since(began)
		t.samples = append(t.samples, s)
	}
	return nil
}

// measure looks at the process from outside, and asks it how many goroutines and paths it has.
func (t *torture) measure(ctx context.Context) (sample, error) {
	var s sample
	proc := filepath.Join("/proc", strconv.Itoa(t.subject.running().pid))
	statm, err := os.ReadFile(filepath.Join(proc, "statm"))
	if err != nil {
		return s, fmt.Errorf("measure memory: %w", err)
	}
	if f := strings.Fields(string(statm)); len(f) > 1 {
		pages, _ := strconv.Atoi(f[1]) // the kernel writes numbers
		s.rss = float64(pages) * float64(os.Getpagesize()) / (1 << 20)
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return s, fmt.Errorf("count descriptors: %w", err)
	}
	s.descriptors = float64(len(fds))
	metrics, err := t.scrape(ctx)
	s.goroutines, s.paths = metrics["go_goroutines"], metrics["sersync_source_indexed_paths"]
	return s, err
}

// scrape reads the metrics, without their labels.
func (t *torture) scrape(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", t.subject.metrics), nil)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(io.LimitReader(resp.Body, 4<<20)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = n
		}
	}
	return values, nil
}

// judgeCurves shows the samples and finds what grew after the warm-up.
func (t *torture) judgeCurves() {
	fmt.Fprintf(t.o.Out, "%8s  %12s  %10s  %11s  %8s\n", "time", "MiB resident", "goroutines", "descriptors", "paths")
	step := max(1, len(t.samples)/rowsMax)
	for i := 0; i < len(t.samples); i += step {
		s := t.samples[i]
		fmt.Fprintf(t.o.Out, "%8v  %12.1f  %10.0f  %11.0f  %8.0f\n", s.at.Round(time.Second), s.rss, s.goroutines, s.descriptors, s.paths)
	}
	warm := t.samples[int(float64(len(t.samples))*warmUp):]
	if len(warm) < 5 {
		t.found(fmt.Sprintf("%d samples are too few to say whether it grows", len(t.samples)))
		return
	}
	for _, c := range curves {
		mean, growth := trend(warm, c.of)
		most := c.part*mean + c.slack
		fmt.Fprintf(t.o.Out, "%s: %.1f on average after the warm-up, trend %+.1f, at the most %+.1f\n", c.name, mean, growth, most)
		if growth > most {
			t.found(fmt.Sprintf("%s grew by %.1f after the warm-up, at the most %.1f would be flat", c.name, growth, most))
		}
	}
}

// trend is the mean of the samples, and by how much the straight line that fits them best rises from the first to the last.
func trend(all []sample, of func(sample) float64) (mean, growth float64) {
	n := float64(len(all))
	var at float64
	for _, s := range all {
		mean += of(s) / n
		at += s.at.Seconds() / n
	}
	var cov, spread float64
	for _, s := range all {
		d := s.at.Seconds() - at
		cov += d * (of(s) - mean)
		spread += d * d
	}
	if spread == 0 {
		return mean, 0
	}
	return mean, cov / spread * (all[len(all)-1].at - all[0].at).Seconds()
}
