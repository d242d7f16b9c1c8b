package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"sersync/internal/config"
	"sersync/internal/transport/rsync/rsyncdtest"
)

// patience bounds what a test waits for, so that a failure ends.
const patience = 60 * time.Second

// life is a daemon that runs for a test.
type life struct {
	t    *testing.T
	file string
	log  *logged
	hup  chan os.Signal
	// up is closed when the daemon is up, done has what Run returned.
	up   chan struct{}
	done chan error
}

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *logged) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *logged) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// live runs a daemon with the configuration until the test ends.
func live(t *testing.T, text string) *life {
	t.Helper()
	run, err := os.MkdirTemp("", "sersync")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	t.Setenv(config.RunDirEnv, run)
	t.Setenv(config.StateDirEnv, t.TempDir())
	l := &life{
		t: t, file: filepath.Join(t.TempDir(), "c.yaml"), log: new(logged),
		hup: make(chan os.Signal, 1), up: make(chan struct{}), done: make(chan error, 1),
	}
	l.configure(text)
	d := New(Options{
		Load:    func() (*config.Config, []config.Problem, error) { return config.Load(l.file) },
		Version: "test", Hup: l.hup, Up: func(string) { close(l.up) },
		NewLog: func(_ io.Writer, _ config.Log, level slog.Leveler) *slog.Logger {
			return slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: level}))
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { l.done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-l.done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Log(l.log.String())
		}
	})
	select {
	case <-l.up:
	case err := <-l.done:
		l.done <- nil
		t.Fatalf("Run: %v", err)
	}
	return l
}

func (l *life) configure(text string) {
	l.t.Helper()
	if err := os.WriteFile(l.file, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// reload reads another configuration, and returns when the log says what became of it.
func (l *life) reload(text, said string) {
	l.t.Helper()
	before := strings.Count(l.log.String(), said)
	l.configure(text)
	l.hup <- syscall.SIGHUP
	until(l.t, "log says "+said, func() error {
		if strings.Count(l.log.String(), said) > before {
			return nil
		}
		return errors.New("not yet")
	})
}

// until returns when the condition holds.
func until(t *testing.T, what string, holds func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s: %v", patience, what, err)
		}
	}
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// scrape is what Prometheus would read.
func scrape(address string) (map[string]*dto.MetricFamily, error) {
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answer %s", resp.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(resp.Body)
}

// value is that of the sample of a metric that has these labels, as "state=idle".
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (float64, error) {
	for _, m := range families[name].GetMetric() {
		has := map[string]bool{}
		for _, l := range m.GetLabel() {
			has[l.GetName()+"="+l.GetValue()] = true
		}
		all := true
		for _, l := range labels {
			all = all && has[l]
		}
		if all {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue(), nil
		}
	}
	return 0, fmt.Errorf("there is no %s with %v", name, labels)
}

func TestPrometheusSeesWhatIsSentAndWhatIsOwed(t *testing.T) {
	rsyncd := rsyncdtest.Start(t, rsyncdtest.Options{})
	source, address := t.TempDir(), freeAddress(t)
	live(t, fmt.Sprintf("metrics: {listen: %q}\nsources:\n  - path: %s\n    name: www\n    targets: [{url: %q, password_file: %s}]\n",
		address, source, rsyncd.URL("data"), rsyncd.PasswordFile()))
	target := "target=" + rsyncd.URL("data")
	// wants polls until the metrics are as a test of them says.
	wants := func(what string, min float64, name string, labels ...string) {
		t.Helper()
		until(t, what, func() error {
			families, err := scrape(address)
			if err != nil {
				return err
			}
			got, err := value(families, name, labels...)
			if err == nil && got < min {
				err = fmt.Errorf("%s is %v", name, got)
			}
			return err
		})
	}
	wants("the build", 1, "sersync_build_info", "version=test")
	wants("the source watches", 1, "sersync_source_state", "source=www", "state=watching")

	write(t, filepath.Join(source, "secret-name"), "12345")
	wants("a file is sent", 1, "sersync_target_sent_files_total", "source=www", target)
	wants("its bytes are sent", 5, "sersync_target_sent_bytes_total", target)
	wants("a run went well", 1, "sersync_target_runs_total", target, "result=ok")
	wants("the file is indexed", 1, "sersync_source_indexed_paths", "source=www")
	wants("a change was noticed", 1, "sersync_source_marks_total", "source=www")

	rsyncd.Stop()
	if err := os.Remove(filepath.Join(source, "secret-name")); err != nil {
		t.Fatal(err)
	}
	wants("the target is away", 1, "sersync_target_state", target, "state=away")
	wants("there is a lag", 0.001, "sersync_target_lag_seconds", target)
	wants("a path is owed", 1, "sersync_target_owed_paths", target, "state=pending")
	wants("a run failed", 1, "sersync_target_runs_total", target, "result=away")
	rsyncd.Restart()
	wants("the removal is done", 1, "sersync_target_removals_total", target)

	families, err := scrape(address)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			if strings.Contains(m.String(), "secret-name") {
				t.Errorf("%s has the name of a file: %v", name, m)
			}
		}
	}
	resp, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || string(text) != "ok\n" {
		t.Errorf("healthz: %s %q", resp.Status, text)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReloadMovesTheMetrics(t *testing.T) {
	rest := fmt.Sprintf("sources: [{path: %s, targets: [{url: %s}]}]\n", t.TempDir(), t.TempDir())
	at := func(address string) string { return fmt.Sprintf("metrics: {listen: %q}\n", address) + rest }
	first, second := freeAddress(t), freeAddress(t)
	l := live(t, rest)
	if _, err := scrape(first); err == nil {
		t.Error("metrics are served and nobody asked for them")
	}

	l.reload(at(first), "configuration reloaded")
	if _, err := scrape(first); err != nil {
		t.Error(err)
	}
	l.reload(at(second), "configuration reloaded")
	if _, err := scrape(second); err != nil {
		t.Error(err)
	}
	if _, err := scrape(first); err == nil {
		t.Error("the old address is still served")
	}
	// The same port, on all addresses.
	_, port, _ := net.SplitHostPort(second)
	l.reload(at(":"+port), "configuration reloaded")
	if _, err := scrape(second); err != nil {
		t.Error(err)
	}

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l.reload(at(taken.Addr().String()), "metrics not moved, the old address stays")
	if !strings.Contains(l.log.String(), "ss -ltnp") {
		t.Error("the log does not say what to do")
	}
	if _, err := scrape(second); err != nil {
		t.Errorf("the old address after a failed move: %v", err)
	}
	l.reload(rest, "configuration reloaded")
	if _, err := scrape(second); err == nil {
		t.Error("metrics are served and nobody asked for them any more")
	}
}

func TestStartFailsWhereMetricsCannotBeServed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	run := t.TempDir()
	t.Setenv(config.RunDirEnv, run)
	t.Setenv(config.StateDirEnv, t.TempDir())
	cfg := parse(t, fmt.Sprintf("metrics: {listen: %q}\nsocket: %s/s\npid_file: %s/p\nsources: [{path: %s, targets: [{url: %s}]}]\n",
		taken.Addr(), run, run, t.TempDir(), t.TempDir()))
	err = New(Options{
		Load:   func() (*config.Config, []config.Problem, error) { return cfg, nil, nil },
		NewLog: func(io.Writer, config.Log, slog.Leveler) *slog.Logger { return slog.New(slog.DiscardHandler) },
	}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(hintOf(err), "ss -ltnp") {
		t.Errorf("error %v, hint %q", err, hintOf(err))
	}
}
