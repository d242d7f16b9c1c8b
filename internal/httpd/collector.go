package httpd

import (
	"runtime"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"sersync/internal/replicate"
	"sersync/internal/transport"
)

// collector makes metrics of the status, which it reads once a scrape. No label is ever the path of a file: there
// may be millions.
type collector struct {
	status  func() Status
	build   *prometheus.Desc
	reload  *prometheus.Desc
	sources []family[replicate.Status]
	targets []family[replicate.TargetStatus]
	hooks   []family[replicate.HookStatus]
}

// family is one metric of each source, of each target, or of each hook.
type family[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// values has one value for each value of the label that is the family's own, or one under "" when it has none.
	values func(T) map[string]float64
}

func newCollector(status func() Status) *collector {
	return &collector{
		status: status,
		build: prometheus.NewDesc("sersync_build_info", "Always 1; the labels say what runs.",
			[]string{"version", "goversion"}, nil),
		reload: prometheus.NewDesc("sersync_config_last_reload_successful",
			"0 when the newest reload failed, so that an older configuration is at work.", nil, nil),
		sources: sourceFamilies(),
		targets: targetFamilies(),
		hooks:   hookFamilies(),
	}
}

// one is the value of a family without a label of its own.
func one[T any, N int | int64 | uint64 | float64](value func(T) N) func(T) map[string]float64 {
	return func(t T) map[string]float64 { return map[string]float64{"": float64(value(t))} }
}

// oneOf is 1 for what is, and 0 for what else could be, so that a graph has no gaps.
func oneOf(known []string, is string) map[string]float64 {
	values := map[string]float64{}
	for _, k := range known {
		values[k] = 0
	}
	if is != "" {
		values[is] = 1
	}
	return values
}

func sourceFamilies() []family[replicate.Status] {
	type status = replicate.Status
	var all []family[status]
	add := func(kind prometheus.ValueType, name, help string, values func(status) map[string]float64, labels ...string) {
		desc := prometheus.NewDesc("sersync_source_"+name, help, append([]string{"source"}, labels...), nil)
		all = append(all, family[status]{desc, kind, values})
	}
	add(prometheus.GaugeValue, "state", "1 for the state that the source is in.", func(s status) map[string]float64 {
		return oneOf([]string{"starting", "scanning", "watching", "root-gone"}, s.State)
	}, "state")
	add(prometheus.GaugeValue, "watches", "Directories that are watched.", one(func(s status) int { return s.Watches }))
	add(prometheus.GaugeValue, "gaps", "Directories that are not watched, but looked at every now and then.",
		one(func(s status) int { return len(s.Gaps) }))
	add(prometheus.CounterValue, "overflows_total", "How often the kernel's queue of events was full.",
		one(func(s status) uint64 { return s.Overflows }))
	add(prometheus.CounterValue, "marks_total", "Changes that were noticed.", one(func(s status) uint64 { return s.Marks }))
	add(prometheus.GaugeValue, "open_files", "Files that are written and not closed yet.", one(func(s status) int { return s.Open }))
	add(prometheus.GaugeValue, "indexed_paths", "Paths that the index knows.", one(func(s status) int { return s.Indexed }))
	add(prometheus.GaugeValue, "brake_engaged", "1 while removals are held because of what the kind says.", func(s status) map[string]float64 {
		kind := ""
		if s.Brake != nil {
			kind = s.Brake.Kind
		}
		return oneOf(replicate.BrakeKinds(), kind)
	}, "kind")
	add(prometheus.GaugeValue, "journal_bytes", "Size of the journal's file.", one(func(s status) int64 { return s.Journal.Bytes }))
	add(prometheus.GaugeValue, "journal_saved_timestamp_seconds", "When the journal's file was last written, in seconds since 1970.", saved)
	add(prometheus.GaugeValue, "journal_unsaved_rows", "Rows that the journal's file does not have yet.",
		one(func(s status) int { return s.Journal.Unsaved }))
	add(prometheus.GaugeValue, "journal_failing", "1 while the journal cannot be kept on disk.", one(func(s status) int {
		if s.Journal.Error != "" {
			return 1
		}
		return 0
	}))
	return all
}

func saved(s replicate.Status) map[string]float64 { return secondsOf(s.Journal.Saved) }

// secondsOf has no value for a time that never was: 1970 would be an age of half a century.
func secondsOf(t *time.Time) map[string]float64 {
	if t == nil {
		return nil
	}
	return map[string]float64{"": float64(t.UnixMilli()) / 1000}
}

func targetFamilies() []family[replicate.TargetStatus] {
	type status = replicate.TargetStatus
	var all []family[status]
	add := func(kind prometheus.ValueType, name, help string, values func(status) map[string]float64, labels ...string) {
		desc := prometheus.NewDesc("sersync_target_"+name, help, append([]string{"source", "target"}, labels...), nil)
		all = append(all, family[status]{desc, kind, values})
	}
	add(prometheus.GaugeValue, "state", "1 for the state that the target is in.", func(t status) map[string]float64 {
		return oneOf(append([]string{"idle", "sending", "pausing", "paused"}, transport.Kinds()...), t.State)
	}, "state")
	add(prometheus.GaugeValue, "lag_seconds", "Age of the oldest change that is not on the target; 0 when all is there.",
		one(func(t status) float64 { return t.Lag }))
	add(prometheus.GaugeValue, "owed_paths",
		"Paths that are not on the target as they should be, by what they wait for: their turn, another try, a brake, a person.", owed, "state")
	add(prometheus.GaugeValue, "owed_bytes", "Size of the regular files that are owed, dead letters not counted.",
		one(func(t status) int64 { return t.WaitingBytes }))
	add(prometheus.CounterValue, "sent_files_total", "Files that were sent.", one(func(t status) uint64 { return t.Files }))
	add(prometheus.CounterValue, "sent_bytes_total", "Bytes of content that were sent.", one(func(t status) uint64 { return t.Bytes }))
	add(prometheus.CounterValue, "removals_total", "Removals that were done.", one(func(t status) uint64 { return t.Removed }))
	add(prometheus.CounterValue, "runs_total", "Batches, and comparisons that failed, by their result: ok, or the kind of the error.", runs, "result")
	add(prometheus.GaugeValue, "sweeping", "1 while the target is compared with the source.", one(func(t status) int {
		if t.Sweep != nil {
			return 1
		}
		return 0
	}))
	add(prometheus.GaugeValue, "verified_timestamp_seconds",
		"As of when all of the target was verified last, in seconds since 1970: when that verification began.", func(t status) map[string]float64 {
			if t.Verified == nil {
				return nil
			}
			return secondsOf(&t.Verified.AsOf)
		})
	add(prometheus.GaugeValue, "verify_differences", "Differences that the last verification found, those on their way not counted.",
		func(t status) map[string]float64 {
			if t.Verified == nil {
				return nil
			}
			return map[string]float64{"": float64(t.Verified.Differences)}
		})
	return all
}

// owed are the paths that are owed, each in one state.
func owed(t replicate.TargetStatus) map[string]float64 {
	return map[string]float64{
		"pending": float64(t.Waiting - t.Retrying - t.Held),
		"retry":   float64(t.Retrying), "held": float64(t.Held), "dead": float64(t.Dead),
	}
}

func runs(t replicate.TargetStatus) map[string]float64 {
	values := oneOf(transport.Kinds(), "")
	ok := t.Runs
	for kind, n := range t.RunsFailed {
		values[kind] = float64(n)
		ok -= n
	}
	values["ok"] = float64(ok)
	return values
}

func hookFamilies() []family[replicate.HookStatus] {
	type status = replicate.HookStatus
	var all []family[status]
	add := func(kind prometheus.ValueType, name, help string, values func(status) map[string]float64) {
		desc := prometheus.NewDesc("sersync_hook_"+name, help, []string{"source", "hook", "on", "target"}, nil)
		all = append(all, family[status]{desc, kind, values})
	}
	add(prometheus.GaugeValue, "waiting", "Paths that the hook is to be told of, dead letters not counted.", one(func(h status) int { return h.Waiting }))
	add(prometheus.GaugeValue, "dead", "Paths of which the hook could not be told too often.", one(func(h status) int { return h.Dead }))
	add(prometheus.GaugeValue, "lag_seconds", "Age of the oldest change that the hook was not told of; 0 when it was told of all.",
		one(func(h status) float64 { return h.Lag }))
	add(prometheus.CounterValue, "told_total", "Calls that told the hook.", one(func(h status) uint64 { return h.Told }))
	add(prometheus.CounterValue, "failures_total", "Calls that did not.", one(func(h status) uint64 { return h.Failures }))
	add(prometheus.CounterValue, "folded_total", "How often the queue was full, so that directories stand for the paths below them.",
		one(func(h status) int { return h.Folded }))
	add(prometheus.GaugeValue, "last_told_timestamp_seconds", "When the hook was told last, in seconds since 1970.",
		func(h status) map[string]float64 { return secondsOf(h.ToldAt) })
	return all
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.build
	descs <- c.reload
	for _, f := range c.sources {
		descs <- f.desc
	}
	for _, f := range c.targets {
		descs <- f.desc
	}
	for _, f := range c.hooks {
		descs <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	s := c.status()
	metrics <- prometheus.MustNewConstMetric(c.build, prometheus.GaugeValue, 1, label(s.Version), runtime.Version())
	reloaded := 1.0
	if s.ReloadError != "" {
		reloaded = 0
	}
	metrics <- prometheus.MustNewConstMetric(c.reload, prometheus.GaugeValue, reloaded)
	for _, source := range s.Sources {
		name := label(source.Name)
		collect(metrics, c.sources, source, name)
		for _, target := range source.Targets {
			collect(metrics, c.targets, target, name, label(target.Name))
		}
		for _, h := range source.Hooks {
			collect(metrics, c.hooks, h, name, h.Name, h.On, label(h.Target))
		}
	}
}

func collect[T any](metrics chan<- prometheus.Metric, families []family[T], of T, labels ...string) {
	for _, f := range families {
		for own, value := range f.values(of) {
			all := labels
			if own != "" {
				all = append(labels[:len(labels):len(labels)], own)
			}
			metrics <- prometheus.MustNewConstMetric(f.desc, f.kind, value, all...)
		}
	}
}

// label is a name as Prometheus takes it: text. A name that is none is quoted, so that two never become one.
func label(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strconv.Quote(name)
}
