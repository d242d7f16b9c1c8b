package native

import (
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/change"
	"sersync/internal/delta"
	"sersync/internal/transport"
	"sersync/internal/wire"
)

// The sum of what goes over is right for whoever makes the file of it: with a key where the target knows of one, and without where it does not.
func TestTheSumOfContentHasAKeyWhereTheTargetKnowsOfOne(t *testing.T) {
	src, root := source(t)
	content := random(3 << 20)
	write(t, src, "f", content)
	for version, keyed := range map[int]bool{wire.Keyed - 1: false, wire.Keyed: true} {
		out, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		builder := delta.NewBuilder(out, int64(len(content)), nil)
		var kinds []delta.Kind
		answer := func(m wire.Message, say func(wire.Message) error) error {
			switch m := m.(type) {
			case *wire.Entry:
				if m.Path == "f" {
					return say(&wire.Want{Last: true})
				}
			case *wire.Content:
				kinds = append(kinds, m.Op.Kind)
				if err := builder.Apply(m.Op); err != nil {
					t.Errorf("version %d: %v", version, err)
				}
			case *wire.ContentEnd:
				return say(&wire.Result{Outcome: wire.Changed, Sent: m.Whole})
			case *wire.End:
				return say(&wire.Done{})
			}
			return nil
		}
		tr := newImpostor(t, &wire.Welcome{Version: version, Facts: welcome.Facts}, answer).tr
		report, err := tr.Apply(t.Context(), transport.Batch{Op: transport.UpdateLarge, Root: root, Paths: []change.Path{"f"}})
		if err != nil || report.Files != 1 {
			t.Fatalf("version %d: %+v, %v", version, report, err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		if kinds[len(kinds)-1] != delta.End || (kinds[0] == delta.Start) != keyed {
			t.Errorf("version %d: the operations are of the kinds %v", version, kinds)
		}
	}
}
