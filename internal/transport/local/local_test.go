package local

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/transport/transporttest"
)

func newTransport(dir string) *Transport {
	return New(Options{Dir: dir, Program: "test", Log: slog.New(slog.DiscardHandler)})
}

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Target {
		dir := t.TempDir()
		return transporttest.Target{Transport: newTransport(dir), Dir: dir}
	})
}

func TestNamesOfOneFile(t *testing.T) {
	transporttest.RunLinks(t, func(t *testing.T) transporttest.Target {
		dir := t.TempDir()
		return transporttest.Target{Transport: newTransport(dir), Dir: dir}
	})
}

// A trash changes nothing for what is outside of it.
func TestTargetWithATrashConforms(t *testing.T) {
	start := func(t *testing.T) transporttest.Target {
		dir := t.TempDir()
		return transporttest.Target{Transport: New(Options{Dir: dir, Trash: true, Program: "test", Log: slog.New(slog.DiscardHandler)}), Dir: dir}
	}
	transporttest.Run(t, start)
	transporttest.RunTrash(t, start)
}

func TestADirectoryThatGoesAndComesBackIsWrittenAgain(t *testing.T) {
	for name, happens := range map[string]func(dir string) error{
		"removed": os.RemoveAll,
		"moved":   func(dir string) error { return os.Rename(dir, dir+".moved") },
	} {
		t.Run(name, func(t *testing.T) {
			dir, src := filepath.Join(t.TempDir(), "target"), t.TempDir()
			tr := newTransport(dir)
			t.Cleanup(func() { tr.Close() })
			root, err := os.Open(src)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { root.Close() })
			if err := os.WriteFile(filepath.Join(src, "f"), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			batch := transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}
			for range 3 {
				var te *transport.Error
				if _, err := tr.Apply(t.Context(), batch); !errors.As(err, &te) || te.Kind != transport.Away || !te.Lost {
					t.Fatalf("without the directory: %v, want that it is away, and that what was there is not known", err)
				}
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				tr.Synced()
				if report, err := tr.Apply(t.Context(), batch); err != nil || report.Files != 1 {
					t.Fatalf("with the directory: %+v, %v", report, err)
				}
				if _, err := os.Stat(filepath.Join(dir, "f")); err != nil {
					t.Error(err)
				}
				if err := errors.Join(os.RemoveAll(dir+".moved"), happens(dir)); err != nil {
					t.Fatal(err)
				}
				tr.Synced()
			}
		})
	}
}

// Connections that nobody uses keep nothing from being opened anew.
func TestADirectoryInThePlaceOfAnotherIsTheTarget(t *testing.T) {
	base, src := t.TempDir(), t.TempDir()
	dir := filepath.Join(base, "target")
	tr := newTransport(dir)
	defer tr.Close()
	root, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(src, "f"), []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	batch := transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}
	if _, err := tr.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(dir, dir+".moved"), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	tr.Synced()
	var te *transport.Error
	if _, err := tr.Apply(t.Context(), batch); !errors.As(err, &te) || !te.Lost {
		t.Fatalf("another directory: %v, want to be told that what is there is not known", err)
	}
	tr.Synced()
	if _, err := tr.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "f")); err != nil {
		t.Errorf("the new directory: %v", err)
	}
}
