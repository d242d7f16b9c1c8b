package transporttest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// differ makes a source and a target that differ in every way; sweepWant is what a sweep finds.
func (b *bench) differ() {
	b.write(b.src, "new", "12345")
	b.write(b.src, "same", "x")
	b.write(b.Dir, "same", "x")
	b.write(b.src, "content", "longer")
	b.write(b.Dir, "content", "short")
	b.write(b.src, "mode", "x")
	b.write(b.Dir, "mode", "x")
	b.must(os.Chmod(filepath.Join(b.src, "mode"), 0o600))
	b.write(b.src, "newdir/sub/f", "x")
	b.must(os.Symlink("here", filepath.Join(b.src, "link")))
	b.must(os.Symlink("there", filepath.Join(b.Dir, "link")))
	b.write(b.src, "d/f", "x")
	b.write(b.Dir, "d/extra\nline", "x")
	b.write(b.Dir, "extra/deep/f", "x")
	for _, dir := range []string{b.src, b.Dir} {
		for _, name := range []string{"same", "mode", "d"} {
			b.must(os.Chtimes(filepath.Join(dir, name), when, when))
		}
		b.must(os.Chtimes(dir, when, when))
	}
}

func sweepFinds(t *testing.T, b *bench) {
	b.differ()
	want := []string{"content 6", "d/f 1", "link", "mode", "new 5", "newdir/", "newdir/sub/", "newdir/sub/f 1"}
	if diff := cmp.Diff(want, b.sweep(false, change.Root)); diff != "" {
		t.Errorf("sweep (-want +got):\n%s", diff)
	}
	want = append(want, "-d/extra\nline", "-extra/", "-extra/deep/", "-extra/deep/f")
	slices.Sort(want)
	if diff := cmp.Diff(want, b.sweep(true, change.Root)); diff != "" {
		t.Errorf("sweep with extras (-want +got):\n%s", diff)
	}
}

func sweepUnder(t *testing.T, b *bench) {
	b.differ()
	b.write(b.Dir, "newdir/sub/extra", "x")
	got := b.sweep(true, "d", "newdir/sub")
	want := []string{"-d/extra\nline", "-newdir/sub/extra", "d/f 1", "newdir/sub/", "newdir/sub/f 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sweep (-want +got):\n%s", diff)
	}
}

// A shallow sweep compares the entries of directories and not what is below those that the source has.
func sweepShallow(t *testing.T, b *bench) {
	b.differ()
	b.write(b.Dir, "newdir/sub/extra", "x")
	b.write(b.Dir, "newdir/gone/deep/f", "x")
	for _, under := range [][]change.Path{{"newdir", "d"}, {change.Root}} {
		want := []string{"-d/extra\nline", "-newdir/gone/", "-newdir/gone/deep/", "-newdir/gone/deep/f", "d/f 1"}
		if under[0] == change.Root {
			want = []string{"-extra/", "-extra/deep/", "-extra/deep/f", "content 6", "link", "mode", "new 5"}
		}
		got := slices.DeleteFunc(b.sweepOf(transport.Sweep{Under: under, Shallow: true, Extras: true}), func(s string) bool {
			return s == "/" || strings.HasPrefix(s, "newdir/") // the directories themselves, whose times differ
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("shallow sweep of %q (-want +got):\n%s", under, diff)
		}
	}
	if got := b.sweepOf(transport.Sweep{Under: []change.Path{"d"}, Shallow: true}); !slices.Equal(got, []string{"d/f 1"}) {
		t.Errorf("shallow sweep without extras found %q", got)
	}
}

func sweepEqual(t *testing.T, b *bench) {
	b.differ()
	before := Tree(t, b.Dir)
	b.sweep(true, change.Root)
	if diff := cmp.Diff(before, Tree(t, b.Dir)); diff != "" {
		t.Errorf("a sweep changed the target (-before +after):\n%s", diff)
	}
	b.apply(transport.Remove, "d/extra\nline", "extra")
	b.apply(transport.Update, append(b.all(), change.Root)...)
	b.equal()
	if got := b.sweep(true, change.Root); len(got) > 0 {
		t.Errorf("a sweep of equal trees found %q", got)
	}
}

func sweepTellsMissing(t *testing.T, b *bench) {
	b.differ()
	var missing []string
	err := b.Transport.Sweep(t.Context(), transport.Sweep{Root: b.root, Under: []change.Path{change.Root}, Extras: true}, func(d transport.Difference) error {
		if d.Missing {
			missing = append(missing, string(d.Path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(missing)
	want := []string{"d/f", "new", "newdir", "newdir/sub", "newdir/sub/f"}
	if diff := cmp.Diff(want, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

// Only a sweep by content reads what is equal in size and time, at whatever rate; it finds nothing else.
func sweepContent(t *testing.T, b *bench) {
	for _, dir := range []string{b.src, b.Dir} {
		b.write(dir, "d/sound", "same")
		b.write(dir, "d/empty", "")
	}
	b.write(b.src, "rotten", "here")
	b.write(b.Dir, "rotten", "over")
	for _, dir := range []string{b.src, b.Dir} {
		for _, name := range []string{"rotten", "d/sound", "d/empty", "d", "."} {
			b.must(os.Chtimes(filepath.Join(dir, name), when, when))
		}
	}
	if got := b.sweep(true, change.Root); len(got) > 0 {
		t.Errorf("a sweep found %q", got)
	}
	for _, s := range []transport.Sweep{
		{Under: []change.Path{change.Root}, Extras: true, Content: true},
		{Under: []change.Path{change.Root}, Content: true, Rate: 1 << 20},
		{Under: []change.Path{change.Root}, Shallow: true, Content: true},
		{Under: []change.Path{change.Root}, Shallow: true, Extras: true, Content: true},
	} {
		if got := b.sweepOf(s); !slices.Equal(got, []string{"rotten 4"}) {
			t.Errorf("%+v found %q", s, got)
		}
	}
}

func sweepYield(t *testing.T, b *bench) {
	b.differ()
	enough, calls := errors.New("enough"), 0
	err := b.Transport.Sweep(t.Context(), transport.Sweep{Root: b.root, Under: []change.Path{change.Root}, Extras: true}, func(transport.Difference) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("sweep: %v after %d calls", err, calls)
	}
}

func cancelled(t *testing.T, b *bench) {
	b.write(b.src, "f", "x")
	ctx := ctxCancelled(t)
	_, err := b.Transport.Apply(ctx, transport.Batch{Op: transport.Update, Root: b.root, Paths: []change.Path{"f"}})
	var state *transport.Error
	if !errors.Is(err, context.Canceled) || errors.As(err, &state) {
		t.Errorf("apply: %v, want a plain cancellation", err)
	}
	err = b.Transport.Sweep(ctx, transport.Sweep{Root: b.root, Under: []change.Path{change.Root}}, func(transport.Difference) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("sweep: %v", err)
	}
	b.targetLacks("f")
}

func together(t *testing.T, b *bench) {
	b.write(b.src, "one/f", "1")
	b.write(b.src, "two/f", "2")
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { b.applyTogether(transport.Update, "one", "one/f") })
		group.Go(func() { b.applyTogether(transport.UpdateLarge, "two/f") })
		for _, content := range []bool{false, true} {
			group.Go(func() {
				s := transport.Sweep{Root: b.root, Under: []change.Path{change.Root}, Extras: true, Content: content}
				if err := b.Transport.Sweep(t.Context(), s, func(transport.Difference) error { return nil }); err != nil {
					t.Errorf("sweep: %v", err)
				}
			})
		}
		group.Wait()
	}
	b.targetHas("one/f", "1")
	b.targetHas("two/f", "2")
}

func (b *bench) applyTogether(op transport.Op, paths ...change.Path) {
	report, err := b.Transport.Apply(b.Context(), transport.Batch{Op: op, Root: b.root, Paths: paths})
	if err != nil || len(report.Failed) > 0 {
		b.Errorf("%v: %+v, %v", op, report, err)
	}
}

func check(t *testing.T, b *bench) {
	b.write(b.Dir, "there", "x")
	before := Tree(t, b.Dir)
	facts, err := b.Transport.Check(t.Context())
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if facts.Here == "" || facts.There == "" {
		t.Errorf("facts %+v, want versions", facts)
	}
	if diff := cmp.Diff(before, Tree(t, b.Dir)); diff != "" {
		t.Errorf("a check changed the target (-before +after):\n%s", diff)
	}
}
