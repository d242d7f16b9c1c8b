package rsync

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/transport/transporttest"
)

// sshd is a real ssh daemon.
type sshd struct{ *rsyncdtest.SSHD }

func startSSHD(t *testing.T) sshd {
	t.Helper()
	return sshd{rsyncdtest.StartSSHD(t)}
}

func (s sshd) options(dir string) Options {
	return Options{
		Host: "127.0.0.1", Port: s.Port(), User: s.User(), Dir: dir, Timeout: 20 * time.Second,
		SSH: SSH{Identity: s.Key(), Args: []string{"-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no"}},
	}
}

func TestSSHConforms(t *testing.T) {
	s := startSSHD(t)
	transporttest.Run(t, func(t *testing.T) transporttest.Target {
		// The directory is for rsync there alone, not for a shell.
		dir := filepath.Join(t.TempDir(), "a b'$(x)\"c")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		o := s.options(dir)
		o.NoWarm = true // a login takes long, and most tests do one thing
		return transporttest.Target{Transport: open(t, o), Dir: dir}
	})
}

func TestStatesOfSSHAreToldApart(t *testing.T) {
	s := startSSHD(t)
	dir := t.TempDir()
	for name, test := range map[string]struct {
		change func(*Options)
		kind   transport.Kind
	}{
		"key not known there": {func(o *Options) { o.SSH.Identity, o.SSH.Args = "", append(o.SSH.Args, "-o", "IdentityFile=none") }, transport.Refused},
		"host key not known":  {func(o *Options) { o.SSH.Args = append([]string{"-o", "StrictHostKeyChecking=yes"}, o.SSH.Args...) }, transport.Refused},
		"no rsync there":      {func(o *Options) { o.Params = []string{"-a", "--rsync-path=no-such-rsync"} }, transport.Misconfigured},
		"missing directory":   {func(o *Options) { o.Dir += "/no/such" }, transport.Misconfigured},
		"nobody listens":      {func(o *Options) { o.Port = 1 }, transport.Away},
		"no ssh here":         {func(o *Options) { o.SSH.Program = "no-such-ssh" }, transport.Misconfigured},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options(dir)
			test.change(&o)
			tr := open(t, o)
			defer tr.Close()
			root, err := os.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			// An rsync that fails kills its ssh (kill_all in its cleanup.c), at times before ssh has passed on
			// what the other side said: such a try says "away", and a later one why.
			for range 10 {
				_, err = tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}})
				var e *transport.Error
				if !errors.As(err, &e) || e.Kind != transport.Away {
					break
				}
			}
			if e := state(t, err, test.kind); e.Unclean {
				t.Errorf("unclean: %v", err)
			}
		})
	}
}

func TestWarmRunOverSSH(t *testing.T) {
	s := startSSHD(t)
	tr := open(t, s.options(t.TempDir()))
	defer tr.Close()
	src := t.TempDir()
	root, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, content := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(src, "f"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{"f"}}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(tr.o.Dir, "f")); err != nil || string(got) != content {
			t.Errorf("got %q, %v; want %q", got, err, content)
		}
		poll(t, "a warm rsync", func() bool {
			tr.warm.mu.Lock()
			defer tr.warm.mu.Unlock()
			return tr.warm.kept[update] != nil
		})
	}
}

// poll waits for a condition of real processes.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}
