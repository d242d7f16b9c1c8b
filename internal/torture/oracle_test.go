package torture

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLogOfAnRsyncDaemonIsRead(t *testing.T) {
	for _, c := range []struct {
		line string
		want sent
		ok   bool
	}{
		{`2026/11/21 14:18:28 [302] CHANGED|recv|>f+++++++++|d/a b`, sent{">f+++++++++", "d/a b", false}, true},
		{`2026/11/21 14:18:28 [302] CHANGED|recv|cd+++++++++|d/`, sent{"cd+++++++++", "d", false}, true},
		{`2026/11/21 14:18:28 [302] CHANGED|recv|.d..t......|./`, sent{".d..t......", ".", true}, true},
		{`2026/11/21 14:18:28 [302] CHANGED|del.|*deleting  |x\#012y|\#134#012`, sent{"*deleting", "x\ny|\\#012", false}, true},
		{`2026/11/21 14:18:28 [302] receiving file list`, sent{}, false},
	} {
		if got, ok := parseSent(c.line); got != c.want || ok != c.ok {
			t.Errorf("%s\nis %+v, %v", c.line, got, ok)
		}
	}
}

// What was sent although nothing had changed since everything was there is found, and nothing else.
func TestOracleKnowsWhatHadAReason(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "source")
	for _, d := range []string{"old/deep", "moved/in"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := newOracle(root)
	changed := time.Now()
	o.touched(filepath.Join(root, "old/f"), false)
	o.touched(filepath.Join(root, "moved"), true)
	later := time.Now().Add(2 * grain)
	for _, c := range []struct {
		rel   string
		dir   bool
		floor time.Time
		want  bool
	}{
		{"old/f", false, changed, true},
		{"old/f", false, later, false},
		{"old", true, changed, true},
		{"old", true, later, false},
		{"old/gone", false, changed, false},
		{"moved/gone/x", false, changed, true},
		{"moved/gone/x", false, later, false},
		{"old/deep", false, changed, true}, // the kernel says so
		{"old/deep", false, later, false},
		{".", true, changed, true},
	} {
		if got := o.reason(c.rel, c.dir, c.floor); got != c.want {
			t.Errorf("%q (directory %v) since %v: a reason is %v", c.rel, c.dir, c.floor.Sub(changed), got)
		}
	}
}

// A life is judged by what was changed since everything was there, or, when that is long ago, since the newest moment before the
// tail of which everything was there.
func TestFloorIsTheNewestMomentBeforeTheTail(t *testing.T) {
	o := newOracle("/source")
	start := time.Now()
	o.full(start)
	o.caughtUp(0, start.Add(time.Second))
	o.caughtUp(0, start.Add(10*time.Second))
	if got := o.floor(0, start.Add(20*time.Second)); !got.Equal(start) {
		t.Errorf("early: %v", got.Sub(start))
	}
	if got := o.floor(0, start.Add(tailTime+5*time.Second)); !got.Equal(start.Add(time.Second)) {
		t.Errorf("later: %v", got.Sub(start))
	}
	if got := o.floor(1, start.Add(time.Hour)); !got.Equal(start) {
		t.Errorf("a target that was never caught up: %v", got.Sub(start))
	}
}
