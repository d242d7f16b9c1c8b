package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/apply"
	"sersync/internal/change"
	"sersync/internal/perm"
	"sersync/internal/receive/session"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
)

// An ACL by which user 99 may read and write, and one for what will be made in a directory.
const (
	accessACL  = "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x06\x00\x63\x00\x00\x00\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff"
	defaultACL = "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x08\x00\x04\x00\x63\x00\x00\x00\x10\x00\x05\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
	netRaw     = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
)

// motley makes everything that a tree may hold, with owners, modes and extended attributes of all kinds.
func motley(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "plain", []byte("plain\n"))
	write(t, dir, "program", []byte("#!/bin/sh\n"))
	write(t, dir, "secret", []byte("secret\n"))
	write(t, dir, "sub/file", []byte("file\n"))
	write(t, dir, "large", make([]byte, 200<<10))
	must(os.Symlink("plain", at("link")))
	must(unix.Mkfifo(at("pipe"), 0o640))
	must(unix.Mknod(at("char"), unix.S_IFCHR|0o660, int(unix.Mkdev(4, 65))))
	must(unix.Mknod(at("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(8, 300))))
	must(unix.Mknod(at("socket"), unix.S_IFSOCK|0o755, 0))
	must(os.Lchown(at("program"), 1234, 5678))
	must(unix.Chmod(at("program"), 0o4751))
	must(os.Lchown(at("link"), 11, 12))
	must(os.Lchown(at("pipe"), 13, 14))
	must(unix.Chmod(at("secret"), 0o400))
	must(os.Lchown(at("sub"), 7, 8))
	must(unix.Chmod(at("sub"), 0o2570))
	for _, x := range []struct{ path, name, value string }{
		{"plain", "user.one", "1"},
		{"program", perm.AccessACL, accessACL},
		{"secret", perm.Capability, netRaw},
		{"sub", perm.DefaultACL, defaultACL},
		{"sub", "user.two", "2"},
	} {
		must(unix.Setxattr(at(x.path), x.name, []byte(x.value), 0))
	}
	for _, name := range []string{"plain", "program", "secret", "large", "link", "pipe", "char", "block", "socket", "sub/file", "sub", "."} {
		// rsync knows the times of symlinks as ours does.
		must(unix.UtimesNanoAt(unix.AT_FDCWD, at(name), []unix.Timespec{{Sec: 1e9}, {Sec: 1_234_567_890, Nsec: 987_654_321}}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// whole are all paths of a directory, itself too.
func whole(t testing.TB, dir string) []change.Path { return append(all(t, dir), change.Root) }

// fakeDaemon is an rsync daemon with the directory as a module that has fake super.
func fakeDaemon(t *testing.T, dir string) (url string, run func(args ...string) string) {
	t.Helper()
	d := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Dir: dir, Lines: []string{"fake super = yes"}}}})
	return d.URL("data") + "/", func(args ...string) string {
		t.Helper()
		out, err := exec.Command("rsync", append([]string{"--password-file", d.PasswordFile()}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("rsync %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
}

func differences(t *testing.T, tr transport.Transport, root *os.File, content bool) []string {
	t.Helper()
	var found []string
	err := tr.Sweep(context.Background(), transport.Sweep{Root: root, Under: []change.Path{change.Root}, Extras: true, Content: content}, func(d transport.Difference) error {
		found = append(found, string(d.Path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return slices.Compact(found) // a directory is told of as an entry and as itself
}

// fakeRig is a receiver with fake super, whose files belong to a user.
func fakeRig(t *testing.T, keeper uint32) (*rig, *Transport) {
	t.Helper()
	r := newRigWith(t, t.TempDir(), apply.Options{FakeSuper: true, Keeper: &apply.Keeper{UID: keeper, GID: keeper}}, session.Options{})
	tr := r.transport(Options{Xattrs: true, Durable: true})
	t.Cleanup(func() { tr.Close() })
	return r, tr
}

func TestRsyncReadsAFakeSuperTreeOfOurs(t *testing.T) {
	r, tr := fakeRig(t, 65534)
	src, root := source(t)
	motley(t, src)
	if report := send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: whole(t, src)}); len(report.Limits) > 0 {
		t.Errorf("limits %v", report.Limits)
	}
	url, rsync := fakeDaemon(t, r.dir)
	if out := rsync("-aAXni", "--delete", "--exclude=.sersync-tmp.*", src+"/", url); out != "" {
		t.Errorf("rsync would change of what we made:\n%s", out)
	}
	back := t.TempDir()
	rsync("-aAX", "--exclude=.sersync-tmp.*", url, back+"/")
	out, err := exec.Command("rsync", "-aAXnic", "--delete", "--exclude=.sersync-tmp.*", src+"/", back+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("what rsync makes of our tree differs from the source: %v\n%s", err, out)
	}
	if st, err := os.Lstat(filepath.Join(r.dir, "char")); err != nil || !st.Mode().IsRegular() {
		t.Errorf("a device is %v %v", st, err)
	}
}

// In some containers a module has no /proc, and nothing of it is needed for this.
func TestAFakeSuperTreeNeedsNoProc(t *testing.T) {
	r := newRigWith(t, t.TempDir(), apply.Options{FakeSuper: true, OpenFiles: "/nowhere"}, session.Options{})
	tr := r.transport(Options{Xattrs: true, Durable: true})
	defer tr.Close()
	src, root := source(t)
	motley(t, src)
	b := transport.Batch{Op: transport.Update, Root: root, Paths: whole(t, src)}
	for range 2 {
		if report := send(t, tr, b); len(report.Limits) > 0 {
			t.Errorf("limits %v", report.Limits)
		}
		if found := differences(t, tr, root, true); len(found) > 0 {
			t.Errorf("differences %q", found)
		}
	}
}

func TestAFakeSuperTreeOfRsyncIsRead(t *testing.T) {
	r, tr := fakeRig(t, 0)
	src, root := source(t)
	motley(t, src)
	// rsync 3.5.0 reads such an ACL of a fake super tree, and does not store one.
	if err := unix.Removexattr(filepath.Join(src, "sub"), perm.DefaultACL); err != nil {
		t.Fatal(err)
	}
	url, rsync := fakeDaemon(t, r.dir)
	rsync("-aAX", src+"/", url)
	if found := differences(t, tr, root, true); len(found) > 0 {
		t.Errorf("differences %q", found)
	}
	before := described(t, filepath.Join(r.dir, "program"))
	report := send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: whole(t, src)})
	if len(report.Changed) > 0 {
		t.Errorf("what rsync made is changed: %q", report.Changed)
	}
	if after := described(t, filepath.Join(r.dir, "program")); after != before {
		t.Errorf("was %s, is %s", before, after)
	}
}

// An update over what rsync left there, of every type, is what the source has then.
func TestAFakeSuperTreeTakesWhatChanges(t *testing.T) {
	r, tr := fakeRig(t, 65534)
	src, root := source(t)
	motley(t, src)
	send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: whole(t, src)})
	at := func(name string) string { return filepath.Join(src, name) }
	err := errors.Join(
		os.Remove(at("link")), os.Symlink("elsewhere", at("link")),
		os.Remove(at("pipe")), os.Mkdir(at("pipe"), 0o700),
		os.Remove(at("char")), unix.Mknod(at("char"), unix.S_IFCHR|0o660, int(unix.Mkdev(5, 1))),
		os.Remove(at("block")), os.Symlink("block", at("block")),
		os.Remove(at("socket")), os.WriteFile(at("socket"), []byte("x"), 0o600),
		os.Remove(at("large")), unix.Mkfifo(at("large"), 0o600),
		os.Lchown(at("plain"), 3, 4), os.Lchown(at("secret"), 65534, 65534), unix.Chmod(at("secret"), 0o600), os.Lchown(at("sub"), 9, 9),
		unix.Removexattr(at("secret"), perm.Capability), unix.Removexattr(at("sub"), perm.DefaultACL),
	)
	if err != nil && !errors.Is(err, unix.ENODATA) { // a chown takes a capability along
		t.Fatal(err)
	}
	want := []string{"", "block", "char", "large", "link", "pipe", "plain", "secret", "socket", "sub"}
	if found := differences(t, tr, root, false); !slices.Equal(found, want) {
		t.Errorf("differences %q, want %q", found, want)
	}
	send(t, tr, transport.Batch{Op: transport.Update, Root: root, Paths: whole(t, src)})
	if found := differences(t, tr, root, true); len(found) > 0 {
		t.Errorf("differences %q", found)
	}
	url, rsync := fakeDaemon(t, r.dir)
	if out := rsync("-aAXnic", "--delete", "--exclude=.sersync-tmp.*", src+"/", url); out != "" {
		t.Errorf("rsync would change:\n%s", out)
	}
	if list, err := sized(func(b []byte) (int, error) { return unix.Listxattr(filepath.Join(r.dir, "secret"), b) }); err != nil || len(list) > 0 {
		t.Errorf("where the file itself says all, there is %q %v", list, err)
	}
	for _, p := range whole(t, src) {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(r.dir, string(p)), &st); err != nil || st.Uid != 65534 || st.Mode&unix.S_IFMT != unix.S_IFREG && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			t.Errorf("%q is %#o of %d, %v", p, st.Mode, st.Uid, err)
		}
	}
}

func TestIncomingChmodComesToRestAndIsThatOfRsync(t *testing.T) {
	const text = "Du=rwx,Dg+s,Dgo=rx,F640,Fu+X"
	changes, err := perm.ParseChmod(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOf(t, t.TempDir(), session.Options{Chmod: changes})
	tr := r.transport(Options{Xattrs: true, Durable: true})
	defer tr.Close()
	src, root := source(t)
	motley(t, src)
	b := transport.Batch{Op: transport.Update, Root: root, Paths: whole(t, src)}
	send(t, tr, b)
	if found := differences(t, tr, root, true); len(found) > 0 {
		t.Errorf("differences %q", found)
	}
	if report := send(t, tr, b); len(report.Changed) > 0 {
		t.Errorf("changed again: %q", report.Changed)
	}
	d := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{{Name: "data", Lines: []string{"incoming chmod = " + text}}}})
	if out, err := exec.Command("rsync", "-aAX", "--password-file", d.PasswordFile(), src+"/", d.URL("data")+"/").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, p := range whole(t, src) {
		if ours, theirs := modeOf(t, r.dir, p), modeOf(t, d.Dir("data"), p); ours != theirs {
			t.Errorf("%q has mode %s, and with rsync %s", p, ours, theirs)
		}
	}
	if err := os.Chmod(filepath.Join(r.dir, "plain"), 0o644); err != nil {
		t.Fatal(err)
	}
	if found := differences(t, tr, root, false); !slices.Equal(found, []string{"plain"}) {
		t.Errorf("differences %q after a mode was changed on the target", found)
	}
}

func modeOf(t *testing.T, dir string, p change.Path) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, string(p)), &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%#o", st.Mode)
}

func TestComparisonFindsExtendedAttributesWhereItIsAskedTo(t *testing.T) {
	r := newRig(t)
	asked, plain := r.transport(Options{Xattrs: true, Durable: true, Target: "asked"}), r.transport(Options{Durable: true, Target: "plain"})
	defer asked.Close()
	defer plain.Close()
	src, root := source(t)
	motley(t, src)
	b := transport.Batch{Op: transport.Update, Root: root, Paths: whole(t, src)}
	send(t, plain, b)
	if found := differences(t, asked, root, true); len(found) > 0 {
		t.Fatalf("differences %q", found)
	}
	there := func(name string) string { return filepath.Join(r.dir, name) }
	other := strings.Replace(accessACL, "\x63", "\x64", 1)
	err := errors.Join(
		unix.Setxattr(there("plain"), "user.one", []byte("other"), 0),
		unix.Setxattr(there("large"), "user.more", []byte("more"), 0),
		unix.Removexattr(there("sub"), perm.DefaultACL),
		unix.Removexattr(there("secret"), perm.Capability),
		unix.Setxattr(there("program"), perm.AccessACL, []byte(other), 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"large", "plain", "program", "secret", "sub"}
	if found := differences(t, asked, root, false); !slices.Equal(found, want) {
		t.Errorf("a sweep finds %q, want %q", found, want)
	}
	if found := differences(t, plain, root, true); !slices.Equal(found, want) {
		t.Errorf("a comparison by content finds %q, want %q", found, want)
	}
	if found := differences(t, plain, root, false); len(found) > 0 {
		t.Errorf("a sweep that nobody asked to finds %q", found)
	}
	send(t, plain, b)
	if found := differences(t, asked, root, true); len(found) > 0 {
		t.Errorf("differences %q after they were sent", found)
	}
}
