package httpd

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// What is here for Prometheus and Grafana names metrics: all of them are there, with their labels and values.

const (
	alertsFile    = "../../etc/prometheus/alerts.yml"
	dashboardFile = "../../etc/grafana/dashboard.json"
)

type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func TestAlertsAreWholeAndDocumented(t *testing.T) {
	all := alerts(t)
	if len(all) < 6 {
		t.Fatalf("%d alerts", len(all))
	}
	known := vocabulary(t)
	for _, a := range all {
		if a.Alert == "" || a.For == "" || a.Labels["severity"] == "" || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("an alert lacks something: %+v", a)
		}
		for _, fault := range known.faults(a.Expr) {
			t.Errorf("%s: %s", a.Alert, fault)
		}
		for _, file := range []string{"../../docs/operations.md", "../../docs/operations.zh-CN.md"} {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), "`"+a.Alert+"`") {
				t.Errorf("%s says nothing of %s", file, a.Alert)
			}
		}
	}
}

func TestDashboardShowsMetricsThatAreThere(t *testing.T) {
	var file struct {
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	known := vocabulary(t)
	shown := ""
	check := func(where, expr string) {
		shown += expr + "\n"
		for _, fault := range known.faults(expr) {
			t.Errorf("%s: %s", where, fault)
		}
	}
	for _, v := range file.Templating.List {
		check(v.Name, v.Definition)
	}
	for _, p := range file.Panels {
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	// And the other way round: what there is to see is shown.
	for name := range known {
		if strings.HasPrefix(name, "sersync_") && name != "sersync_config_last_reload_successful" && !strings.Contains(shown, name) {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// words are the metrics there are, for each its labels, for each of those its values.
type words map[string]map[string][]string

func vocabulary(t *testing.T) words {
	t.Helper()
	all := words{
		"up": {"job": {"sersync"}}, "process_resident_memory_bytes": {}, "process_cpu_seconds_total": {},
	}
	for sample := range samples(t, busy()) {
		name, labels, _ := strings.Cut(sample, " ")
		if all[name] == nil {
			all[name] = map[string][]string{}
		}
		for label := range strings.SplitSeq(labels, ",") {
			key, value, _ := strings.Cut(label, "=")
			all[name][key] = append(all[name][key], value)
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`\b((?:sersync|process|go)_[a-z_]+|up)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
)

// faults is what an expression names and is not there. What Prometheus adds itself is always there.
func (w words) faults(expr string) []string {
	var faults []string
	own := []string{"instance", "job"}
	grouped := append([]string(nil), own...)
	for _, found := range selector.FindAllStringSubmatch(expr, -1) {
		labels, ok := w[found[1]]
		if !ok {
			faults = append(faults, "there is no metric "+found[1])
		}
		for label := range labels {
			grouped = append(grouped, label)
		}
		for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
			values, ok := labels[m[1]]
			if !ok && !slices.Contains(own, m[1]) {
				faults = append(faults, found[1]+" has no label "+m[1])
			}
			for value := range strings.SplitSeq(m[2], "|") {
				if ok && !strings.HasPrefix(value, "$") && !slices.Contains(values, value) {
					faults = append(faults, found[1]+" never has "+m[1]+"="+value)
				}
			}
		}
	}
	for _, found := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(found[1], ", ") {
			if !slices.Contains(grouped, label) {
				faults = append(faults, "there is no label "+label+" to group by")
			}
		}
	}
	return faults
}

func TestFaultsOfExpressionsAreFound(t *testing.T) {
	known := vocabulary(t)
	for expr, want := range map[string]string{
		`sersync_target_lag > 1`:                                  "there is no metric sersync_target_lag",
		`sersync_target_lag_seconds{state="x"}`:                   "sersync_target_lag_seconds has no label state",
		`sersync_target_state{state=~"idle|asleep"}`:              "sersync_target_state never has state=asleep",
		`sum by (path) (sersync_target_lag_seconds)`:              "there is no label path to group by",
		`sum by (source, job) (sersync_target_lag_seconds) > 0.5`: "",
	} {
		if got := strings.Join(known.faults(expr), "; "); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}
