package httpd

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"sersync/internal/replicate"
)

// busy is a status in which something can be said of everything.
func busy() Status {
	written := time.Unix(1_000_000, 500_000_000)
	return Status{
		Version: "3.0", ReloadError: "no such file",
		Sources: []replicate.Status{{
			Name: "www", State: "watching", Watches: 3, Overflows: 2, Marks: 40, Open: 1, Indexed: 9,
			Gaps:  []replicate.Gap{{Path: "some/dir"}},
			Brake: &replicate.Brake{Kind: "root-empty", Held: 4},
			Journal: replicate.JournalStatus{
				Path: "some/journal", Bytes: 65536, Saved: &written, Unsaved: 12, Error: "no space left on device", Since: &written,
			},
			Targets: []replicate.TargetStatus{
				{
					Name: "rsync://h/m", State: "away", Lag: 1.5, Waiting: 10, WaitingBytes: 2048, Retrying: 2, Held: 4, Dead: 1,
					Files: 5, Bytes: 600, Removed: 7, Runs: 11, RunsFailed: map[string]uint64{"away": 3, "full": 1},
					Sweep: &replicate.SweepStatus{Since: time.Now()}, Verified: &replicate.VerifiedStatus{AsOf: written, Differences: 6}, DeadLetters: []replicate.DeadLetter{{Path: "some/file"}},
				},
				{Name: "/copy\xff", State: "idle"},
				{Name: "/copy\xfe", State: "idle"},
			},
			Hooks: []replicate.HookStatus{
				{
					Name: "cdn", On: "acked", Target: "rsync://h/m", Waiting: 21, Dead: 2, Lag: 2.5, Told: 31, Failures: 8, Folded: 1,
					ToldAt: &written, LastError: &replicate.LastError{Text: "some/file"},
				},
				{Name: "mail", On: "deletes-held"},
			},
		}},
	}
}

// samples are all values that a scrape of the status has, by name and labels.
func samples(t *testing.T, s Status) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(func() Status { return s }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			all[f.GetName()+" "+labels(m)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

func labels(m *dto.Metric) string {
	var all []string
	for _, l := range m.GetLabel() {
		all = append(all, l.GetName()+"="+l.GetValue())
	}
	return strings.Join(all, ",")
}

func TestMetricsSayWhatTheStatusSays(t *testing.T) {
	all := samples(t, busy())
	got := map[string]float64{}
	for sample, v := range all {
		// What is 0 because something else is so, and the build, which has the version of Go.
		if v != 0 && !strings.HasPrefix(sample, "sersync_build_info") && strings.Contains(sample, "source=www") && !strings.Contains(sample, "copy") {
			got[strings.Replace(sample, "source=www", "", 1)] = v
		}
	}
	want := map[string]float64{
		"sersync_source_state ,state=watching":                          1,
		"sersync_source_watches ":                                       3,
		"sersync_source_gaps ":                                          1,
		"sersync_source_overflows_total ":                               2,
		"sersync_source_marks_total ":                                   40,
		"sersync_source_open_files ":                                    1,
		"sersync_source_indexed_paths ":                                 9,
		"sersync_source_brake_engaged kind=root-empty,":                 1,
		"sersync_source_journal_bytes ":                                 65536,
		"sersync_source_journal_saved_timestamp_seconds ":               1_000_000.5,
		"sersync_source_journal_unsaved_rows ":                          12,
		"sersync_source_journal_failing ":                               1,
		"sersync_target_state ,state=away,target=rsync://h/m":           1,
		"sersync_target_lag_seconds ,target=rsync://h/m":                1.5,
		"sersync_target_owed_paths ,state=pending,target=rsync://h/m":   4,
		"sersync_target_owed_paths ,state=retry,target=rsync://h/m":     2,
		"sersync_target_owed_paths ,state=held,target=rsync://h/m":      4,
		"sersync_target_owed_paths ,state=dead,target=rsync://h/m":      1,
		"sersync_target_owed_bytes ,target=rsync://h/m":                 2048,
		"sersync_target_sent_files_total ,target=rsync://h/m":           5,
		"sersync_target_sent_bytes_total ,target=rsync://h/m":           600,
		"sersync_target_removals_total ,target=rsync://h/m":             7,
		"sersync_target_runs_total result=ok,,target=rsync://h/m":       7,
		"sersync_target_runs_total result=away,,target=rsync://h/m":     3,
		"sersync_target_runs_total result=full,,target=rsync://h/m":     1,
		"sersync_target_sweeping ,target=rsync://h/m":                   1,
		"sersync_target_verified_timestamp_seconds ,target=rsync://h/m": 1_000_000.5,
		"sersync_target_verify_differences ,target=rsync://h/m":         6,

		"sersync_hook_waiting hook=cdn,on=acked,,target=rsync://h/m":                     21,
		"sersync_hook_dead hook=cdn,on=acked,,target=rsync://h/m":                        2,
		"sersync_hook_lag_seconds hook=cdn,on=acked,,target=rsync://h/m":                 2.5,
		"sersync_hook_told_total hook=cdn,on=acked,,target=rsync://h/m":                  31,
		"sersync_hook_failures_total hook=cdn,on=acked,,target=rsync://h/m":              8,
		"sersync_hook_folded_total hook=cdn,on=acked,,target=rsync://h/m":                1,
		"sersync_hook_last_told_timestamp_seconds hook=cdn,on=acked,,target=rsync://h/m": 1_000_000.5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if v, ok := all["sersync_config_last_reload_successful "]; v != 0 || !ok {
		t.Errorf("last reload successful: %v, %v", v, ok)
	}
	if _, ok := all[`sersync_target_lag_seconds source=www,target="/copy\xff"`]; !ok {
		t.Error("a name that is no text has no metrics")
	}
	for sample := range all {
		if strings.Contains(sample, "some/") {
			t.Errorf("%s has the path of a file", sample)
		}
	}
}

func TestHookThatWasNeverToldHasNoAge(t *testing.T) {
	all := samples(t, busy())
	if v, ok := all["sersync_hook_last_told_timestamp_seconds hook=mail,on=deletes-held,source=www,target="]; ok {
		t.Errorf("it was told at %v", v)
	}
	if v, ok := all["sersync_hook_told_total hook=mail,on=deletes-held,source=www,target="]; v != 0 || !ok {
		t.Errorf("told: %v, %v", v, ok)
	}
}

func TestJournalThatWasNeverWrittenHasNoAge(t *testing.T) {
	s := busy()
	s.Sources[0].Journal = replicate.JournalStatus{}
	all := samples(t, s)
	if v, ok := all["sersync_source_journal_saved_timestamp_seconds source=www"]; ok {
		t.Errorf("it was saved at %v", v)
	}
	if v, ok := all["sersync_source_journal_failing source=www"]; v != 0 || !ok {
		t.Errorf("failing: %v, %v", v, ok)
	}
}

// names are the metrics of ours, with their labels.
func names(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for sample := range samples(t, busy()) {
		name, labels, _ := strings.Cut(sample, " ")
		for label := range strings.SplitSeq(labels, ",") {
			key, _, _ := strings.Cut(label, "=")
			all[name] = append(all[name], key)
		}
	}
	return all
}

func TestEveryMetricIsDocumented(t *testing.T) {
	for _, file := range []string{"../../docs/operations.md", "../../docs/operations.zh-CN.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var written []string
		for _, found := range regexp.MustCompile("`(sersync_[a-z_]+)`").FindAllStringSubmatch(string(text), -1) {
			written = append(written, found[1])
		}
		slices.Sort(written)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(names(t))), slices.Compact(written)); diff != "" {
			t.Errorf("%s (-metrics +document):\n%s", file, diff)
		}
	}
}
