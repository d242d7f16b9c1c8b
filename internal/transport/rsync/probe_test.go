package rsync

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
)

// probed is what a Probe of the module says; the module holds afterwards what it held before.
func probed(t *testing.T, d *rsyncdtest.Daemon, o Options) (transport.Probed, error) {
	t.Helper()
	before := entries(t, d.Dir(o.Module))
	o.Host, o.Port, o.User, o.PasswordFile = d.Host(), d.Port(), rsyncdtest.User, d.PasswordFile()
	there, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	p, err := there.Probe(t.Context())
	if p.Left != nil {
		t.Errorf("the file was left: %v", p.Left)
	}
	if after := entries(t, d.Dir(o.Module)); len(after) != len(before) {
		t.Errorf("the module holds %q, before that %q", after, before)
	}
	return p, err
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestProbeTellsWhatATargetStores(t *testing.T) {
	d := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{
		{Name: "root"},
		{Name: "nobody", Lines: []string{"uid = 65534", "gid = 65534"}},
		{Name: "chmod", Lines: []string{"incoming chmod = F644"}},
		{Name: "blind", Lines: []string{"write only = yes"}},
	}})
	if err := os.Chmod(d.Dir("nobody"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		module        string
		modes, owners transport.Kept
		listed        bool
	}{{"root", transport.Stored, transport.Stored, true}, {"nobody", transport.Stored, transport.Lost, true}, {"chmod", transport.Lost, transport.Stored, true}, {"blind", transport.Stored, transport.Stored, false}} {
		p, err := probed(t, d, Options{Module: c.module})
		if err != nil {
			t.Errorf("%s: %v", c.module, err)
			continue
		}
		if p.Times != transport.Nanoseconds || p.Modes != c.modes || p.Owners != c.owners {
			t.Errorf("%s: times %s, modes %s, owners %s", c.module, p.Times, p.Modes, p.Owners)
		}
		if known := p.NoStamp == nil; known != c.listed {
			t.Errorf("%s: stamp %v, %v", c.module, p.Stamp, p.NoStamp)
		} else if known && (p.Stamp.Before(p.Before.Truncate(time.Second)) || p.Stamp.After(p.After)) {
			t.Errorf("%s: written from %v to %v, stamp %v", c.module, p.Before, p.After, p.Stamp)
		}
	}
}

func TestProbeNamesWhyItCannotWrite(t *testing.T) {
	full := t.TempDir()
	mount(t, full, "tmpfs", 0, "size=64k")
	content := make([]byte, 64<<10)
	if err := os.WriteFile(filepath.Join(full, "fill"), content, 0o600); !errors.Is(err, unix.ENOSPC) && err != nil {
		t.Fatal(err)
	}
	frozen := t.TempDir()
	mount(t, frozen, "tmpfs", unix.MS_RDONLY, "")
	d := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{
		{Name: "full", Dir: full},
		{Name: "frozen", Dir: frozen},
		{Name: "readonly", Lines: []string{"read only = yes"}},
		{Name: "keeps", Lines: []string{"refuse options = delete"}},
		{Name: "closed", Lines: []string{"uid = 65534", "gid = 65534"}},
		{Name: "plain"},
	}})
	for _, c := range []struct {
		module, dir string
		kind        transport.Kind
	}{
		{"full", "", transport.Full},
		{"frozen", "", transport.ReadOnly},
		{"readonly", "", transport.ReadOnly},
		{"keeps", "", transport.RemovalsRefused},
		{"closed", "", transport.Misconfigured},
		{"plain", "missing", transport.Misconfigured},
	} {
		_, err := probed(t, d, Options{Module: c.module, Dir: c.dir})
		var state *transport.Error
		if !errors.As(err, &state) || state.Kind != c.kind {
			t.Errorf("%s: %v, want the kind %v", c.module, err, c.kind)
		} else if state.Hint == "" && c.kind != transport.Full && c.module != "frozen" {
			t.Errorf("%s: no hint: %v", c.module, err)
		}
	}
}

// Listings differ between versions by the way they write sizes.
func TestListedTimeIsReadOfEveryVersion(t *testing.T) {
	want := time.Date(2026, 11, 21, 14, 13, 10, 0, time.UTC)
	for _, line := range []string{
		"-rw-r--r--          23 2026/11/21 14:13:10 .sersync-probe-0\n",
		"-rw-r-----         1,023 2026/11/21 14:13:10 .sersync-probe-0\n",
		"welcome\n-rw----r--              2 2026/11/21 14:13:10 .sersync-probe-0\n",
	} {
		if got, err := listedTime(line); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", line, got, err)
		}
	}
	if _, err := listedTime("drwxr-xr-x 4096 2026/11/21 14:13:10 x\n"); err == nil {
		t.Error("a directory is taken for the file")
	}
}

// An old inode has no room for the part of a second.
func TestProbeTellsThatAFileSystemKeepsWholeSeconds(t *testing.T) {
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	for _, args := range [][]string{
		{"truncate", "--size=4M", image},
		{"mkfs.ext2", "-q", "-I", "128", image},
		{"mount", "-o", "loop", image, dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v\n%s", err, out)
		}
	})
	there, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	p, err := there.Probe(t.Context())
	if err != nil || p.Left != nil || p.Times != transport.Seconds || p.Modes != transport.Stored || p.Owners != transport.Stored {
		t.Errorf("%+v, %v", p, err)
	}
}

// Over ssh as to a daemon.
func TestProbeOverSSH(t *testing.T) {
	s := startSSHD(t)
	dir := t.TempDir()
	there, err := New(Options{
		Host: "127.0.0.1", Port: s.Port(), User: s.User(), Dir: dir,
		SSH: SSH{Identity: s.Key(), Args: []string{"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	p, err := there.Probe(t.Context())
	if err != nil || p.Left != nil || p.NoStamp != nil || p.Times != transport.Nanoseconds {
		t.Errorf("%+v, %v", p, err)
	}
	if left := entries(t, dir); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
}

// Also when the time is over in the middle of it.
func TestProbeThatIsEndedLeavesNothing(t *testing.T) {
	d := rsyncdtest.Start(t, rsyncdtest.Options{})
	there, err := New(Options{Module: "data", Host: d.Host(), Port: d.Port(), User: rsyncdtest.User, PasswordFile: d.PasswordFile()})
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if names, err := os.ReadDir(d.Dir("data")); err == nil && len(names) > 0 {
				cancel()
			}
		}
	}()
	p, err := there.Probe(ctx)
	if err == nil {
		t.Error("it was not ended")
	}
	if p.Left != nil {
		t.Errorf("it says that the file is left: %v", p.Left)
	}
	// A receiver that was cut removes its own temporary file.
	poll(t, "an empty module", func() bool { return len(entries(t, d.Dir("data"))) == 0 })
}
