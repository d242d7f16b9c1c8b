package daemon

import (
	"testing"
	"time"
)

func TestScheduleOfAConfigurationReachesItsSource(t *testing.T) {
	d := New(Options{})
	d.log = discard
	cfg := parse(t, `
sources:
  - path: /a
    sweep: {every: 10h, schedule: "0 3 * * *", exclude: ["*.php"]}
    targets: [{url: "rsync://h/a"}]
`)
	o, err := d.sourceOptions(cfg, cfg.Sources[0])
	if err != nil {
		t.Fatal(err)
	}
	defer o.Targets[0].Transport.Close()
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.Local)
	if next := o.SweepAt.Next(noon); !next.Equal(noon.Add(15 * time.Hour)) {
		t.Errorf("after noon a sweep is due at %v", next)
	}
	if o.SweepEvery != 10*time.Hour || o.Targets[0].SweepExclude[0] != "*.php" {
		t.Errorf("options %+v", o)
	}
}
