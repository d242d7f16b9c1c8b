package native

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/receive/session"
	"sersync/internal/transport"
)

// small is a rig on a file system of 2 MiB.
func small(t *testing.T) (*rig, func(flags uintptr, options string)) {
	dir := t.TempDir()
	mount := func(flags uintptr, options string) {
		t.Helper()
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
			t.Fatal(err)
		}
	}
	mount(0, "size=2m")
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return newRigOf(t, dir, session.Options{}), mount
}

func TestATargetWithoutRoomIsFullUntilThereIsSome(t *testing.T) {
	for _, size := range []int{60 << 10, 3 << 20} {
		r, _ := small(t)
		tr := r.transport(Options{})
		t.Cleanup(func() { tr.Close() })
		write(t, r.dir, "ballast", make([]byte, 2<<20-32<<10))
		src, root := source(t)
		write(t, src, "f", bytes.Repeat([]byte("x"), size))
		for _, op := range []transport.Op{transport.Update, transport.UpdateLarge} {
			b := transport.Batch{Op: op, Root: root, Paths: []change.Path{"f"}}
			_, err := tr.Apply(context.Background(), b)
			if te := state(t, err, transport.Full); te.Hint == "" {
				t.Errorf("%v has no hint", te)
			}
		}
		lacks(t, r.dir, "f")
		if err := os.Truncate(filepath.Join(src, "f"), 60<<10); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(r.dir, "ballast")); err != nil {
			t.Fatal(err)
		}
		send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
	}
}

func TestATargetThatIsMountedReadOnlySaysSoUntilItIsNot(t *testing.T) {
	r, mount := small(t)
	tr := r.transport(Options{})
	t.Cleanup(func() { tr.Close() })
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	write(t, r.dir, "gone", []byte("x"))
	mount(unix.MS_REMOUNT|unix.MS_RDONLY, "size=2m")
	for _, b := range []transport.Batch{
		{Op: transport.Update, Root: root, Paths: []change.Path{"f"}},
		{Op: transport.Remove, Root: root, Paths: []change.Path{"gone"}},
	} {
		_, err := tr.Apply(context.Background(), b)
		if te := state(t, err, transport.ReadOnly); te.Hint == "" {
			t.Errorf("%v has no hint", te)
		}
	}
	mount(unix.MS_REMOUNT, "size=2m")
	send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
	send(t, tr, transport.Batch{Op: transport.Remove, Root: root, Paths: []change.Path{"gone"}})
	lacks(t, r.dir, "gone")
}

func TestAReadOnlyModuleTakesNothingAndIsCompared(t *testing.T) {
	r := newRig(t)
	r.readOnly = "do something"
	tr := r.transport(Options{})
	t.Cleanup(func() { tr.Close() })
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	write(t, src, "large", random(200<<10))
	for _, op := range []transport.Op{transport.Update, transport.UpdateLarge, transport.Remove, transport.RemoveExact} {
		_, err := tr.Apply(context.Background(), transport.Batch{Op: op, Root: root, Paths: []change.Path{"f", "large"}})
		if te := state(t, err, transport.ReadOnly); te.Hint != "do something" {
			t.Errorf("%v: hint %q", op, te.Hint)
		}
	}
	lacks(t, r.dir, "f")
	found := 0
	err := tr.Sweep(context.Background(), transport.Sweep{Root: root, Under: []change.Path{change.Root}}, func(transport.Difference) error {
		found++
		return nil
	})
	if err != nil || found < 2 {
		t.Errorf("%d differences, %v", found, err)
	}
}

// A directory that was removed, or moved, may be another one when it is back; whoever serves it opens it anew.
func TestATargetWhoseDirectoryIsAnotherIsAwayAndWhatItHadIsNotKnown(t *testing.T) {
	for name, happens := range map[string]func(dir string) error{
		"removed": os.RemoveAll,
		"moved":   func(dir string) error { return os.Rename(dir, dir+".moved") },
		"moved, with another in its place": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".moved"), os.Mkdir(dir, 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "target")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			r := newRigOf(t, dir, session.Options{})
			tr := r.transport(Options{})
			t.Cleanup(func() { tr.Close() })
			src, root := source(t)
			write(t, src, "f", []byte("x"))
			b := transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}
			send(t, tr, b)
			if err := happens(dir); err != nil {
				t.Fatal(err)
			}
			write(t, src, "f", []byte("longer"))
			tr.Synced()
			_, err := tr.Apply(context.Background(), b)
			if te := state(t, err, transport.Away); !te.Lost || te.Hint == "" {
				t.Errorf("error %+v, want one that says what is lost", te)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			r.stop()
			r.start(session.Options{})
			tr.Synced()
			send(t, tr, b)
			if content, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(content) != "longer" {
				t.Errorf("the file is %q, %v", content, err)
			}
		})
	}
}

// never is so long that no test sees it.
const never = 24 * time.Hour

func TestADurableBatchIsOnTheDiskWhenItIsAcked(t *testing.T) {
	r := newRigOf(t, t.TempDir(), session.Options{SyncEvery: never})
	way := newRelay(t, r.address)
	tr := r.transport(Options{Dial: by(way), Durable: true})
	defer tr.Close()
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	b := transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}
	for range 3 { // one that changes nothing is, too
		send(t, tr, b)
		asked := time.Now()
		if at, _ := tr.Synced(); at.Before(asked) {
			t.Errorf("what was acked %v ago is not on the disk", time.Since(at))
		}
	}
	way.cut()
	write(t, src, "f", []byte("y"))
	poll(t, "the end of the connection", func() bool { kept, _ := tr.kept(); return kept == nil })
	send(t, tr, b)
}

func TestWhatWasNotOnTheDiskWhenAConnectionEndedIsTold(t *testing.T) {
	r := newRigOf(t, t.TempDir(), session.Options{SyncEvery: never})
	way := newRelay(t, r.address)
	tr := r.transport(Options{Dial: by(way)})
	defer tr.Close()
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	b := transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}
	begin := time.Now()
	send(t, tr, b)
	end := time.Now()
	if at, _ := tr.Synced(); at.Before(begin) || at.After(end) {
		t.Errorf("synced up to %v, want the time at which the batch began, between %v and %v", at, begin, end)
	}
	way.cut()
	poll(t, "the end of the connection", tr.forgot)
	for range 2 {
		_, err := tr.Apply(context.Background(), b)
		state(t, err, transport.Away)
	}
	if at, _ := tr.Synced(); at.Before(begin) || at.After(end) {
		t.Errorf("after the cut: synced up to %v, want the time at which the batch began, between %v and %v", at, begin, end)
	}
	send(t, tr, b)
}

func TestABatchThatWasCutOffIsNotOneThatWasAcked(t *testing.T) {
	c := newCutter(t, 12)
	write(t, c.src, "f", random(1<<20))
	c.relay.after(up, 200<<10, c.relay.cutLocked)
	_, err := c.tr.Apply(context.Background(), transport.Batch{Op: transport.Update, Root: c.root, Paths: []change.Path{"f"}})
	state(t, err, transport.Away)
	c.relay.calm()
	send(t, c.tr, transport.Batch{Op: transport.Update, Root: c.root, Paths: []change.Path{"f"}})
}

func TestEachBatchComesToTheDiskByItself(t *testing.T) {
	r := newRigOf(t, t.TempDir(), session.Options{SyncEvery: time.Millisecond})
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	for range 5 { // the later ones change nothing
		send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
		acked := time.Now()
		poll(t, "the disk", func() bool {
			at, _ := tr.Synced()
			return at.After(acked)
		})
	}
}

// What was replaced keeps its space until a sync: much of it is not kept until it is time for one.
func TestMuchThatWasReplacedIsBroughtToTheDiskBeforeItsTime(t *testing.T) {
	r := newRigOf(t, t.TempDir(), session.Options{SyncEvery: never})
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	write(t, src, "f", []byte("x"))
	old, err := os.Create(filepath.Join(r.dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := unix.Fallocate(int(old.Fd()), 0, 0, 300<<20); err != nil {
		t.Fatal(err)
	}
	send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
	acked := time.Now()
	poll(t, "the disk", func() bool {
		at, _ := tr.Synced()
		return at.After(acked)
	})
	var st unix.Stat_t
	if err := unix.Fstat(int(old.Fd()), &st); err != nil || st.Nlink != 0 {
		t.Errorf("the old version has %d names, %v", st.Nlink, err)
	}
}

func TestWhatIsEqualStaysTheFileThatItIs(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	holes := make([]byte, 300<<10)
	copy(holes[100<<10:], random(50<<10))
	for name, content := range map[string][]byte{"dense": random(300<<10 + 7), "holes": holes, "small": random(100)} {
		write(t, src, name, content)
		write(t, r.dir, name, content)
	}
	paths := []change.Path{"dense", "holes", "small"}
	inode := func(p change.Path) uint64 {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(r.dir, string(p)), &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	before := map[change.Path]uint64{}
	for _, p := range paths {
		before[p] = inode(p)
	}
	for _, op := range []transport.Op{transport.UpdateLargeContent, transport.UpdateContent} {
		for round := range 2 {
			for _, p := range paths {
				at := time.Unix(1e9, int64(op)) // the attributes are set in the first round, and are there in the second one
				if err := os.Chtimes(filepath.Join(src, string(p)), at, at); err != nil {
					t.Fatal(err)
				}
			}
			report := send(t, tr, transport.Batch{Op: op, Root: root, Paths: paths[:2]})
			if report.Files != 0 || len(report.Changed) != 2*(1-round) {
				t.Errorf("%v, round %d: %+v", op, round, report)
			}
		}
	}
	for _, p := range paths {
		if now := inode(p); now != before[p] {
			t.Errorf("%q was replaced", p)
		}
	}
	if left := parts(t, r.dir); len(left) > 0 {
		t.Errorf("parts are left over: %q", left)
	}
}

func TestExtendedAttributesArriveAndGo(t *testing.T) {
	r := newRig(t)
	tr := r.transport(Options{})
	defer tr.Close()
	src, root := source(t)
	write(t, src, "d/small", []byte("x"))
	write(t, src, "d/large", random(200<<10))
	// version 2, owner rwx, user 7 r, group r, mask r, other none; as setfacl writes it
	acl := []byte("\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\x07\x00\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")
	capability := []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00") // cap_net_bind_service=ep
	paths := []change.Path{"d", "d/small", "d/large"}
	set := func(p change.Path, name string, value []byte) {
		t.Helper()
		if err := unix.Setxattr(filepath.Join(src, string(p)), name, value, 0); err != nil {
			t.Fatalf("set %s of %q: %v", name, p, err)
		}
	}
	for _, p := range paths {
		set(p, "user.one", []byte("1\x00binary"))
		set(p, "user.empty", nil)
		set(p, "system.posix_acl_access", acl)
	}
	set("d", "system.posix_acl_default", acl)
	set("d/small", "security.capability", capability)
	set("d/small", "trusted.machine", []byte("its own"))
	compare := func() {
		t.Helper()
		for _, p := range paths {
			want, got := described(t, filepath.Join(src, string(p))), described(t, filepath.Join(r.dir, string(p)))
			want = strings.ReplaceAll(want, "trusted.machine=\"its own\"\n", "")
			if got != want {
				t.Errorf("%q has\n%s, want\n%s", p, got, want)
			}
		}
	}
	send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: paths})
	compare()
	for _, p := range paths {
		if err := unix.Removexattr(filepath.Join(src, string(p)), "user.one"); err != nil {
			t.Fatal(err)
		}
		set(p, "user.empty", []byte("no more"))
	}
	if report := send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: paths}); report.Files != 0 || len(report.Changed) != 3 {
		t.Errorf("%+v, want attributes alone to be changed", report)
	}
	compare()
	for _, p := range paths {
		for _, name := range []string{"user.empty", "system.posix_acl_access"} {
			if err := unix.Removexattr(filepath.Join(src, string(p)), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: paths})
	compare()
	if report := send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: paths}); len(report.Changed) > 0 {
		t.Errorf("%+v, want nothing to be changed", report)
	}
}

// described are the mode and the extended attributes of a path.
func described(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	list, err := sized(func(b []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), b) })
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "security.") && name != "security.capability" {
			continue
		}
		value, err := sized(func(b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), name, b) })
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, name+"="+strconv.Quote(string(value))+"\n")
	}
	slices.Sort(lines)
	return info.Mode().String() + "\n" + strings.Join(lines, "")
}
