package native

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/transport/transporttest"
)

// built is a sersync for the other side of an ssh.
func built(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "sersync")
	if out, err := exec.Command("go", "build", "-o", name, "sersync/cmd/sersync").CombinedOutput(); err != nil {
		t.Fatalf("build sersync: %v\n%s", err, out)
	}
	return name
}

func over(s *rsyncdtest.SSHD, program, dir string) SSH {
	return SSH{
		Host: "127.0.0.1", Port: s.Port(), User: s.User(), Dir: dir, Identity: s.Key(), There: program, ConnectTimeout: 20 * time.Second,
		Args: []string{"-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no"},
	}
}

func TestSSHConforms(t *testing.T) {
	s, program := rsyncdtest.StartSSHD(t), built(t)
	transporttest.Run(t, func(t *testing.T) transporttest.Target {
		// The directory is one word for the shell there.
		dir := filepath.Join(t.TempDir(), "a b'$(x)\"c")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return transporttest.Target{Transport: New(Options{Dial: over(s, program, dir).Dial, Target: "test", Program: "here"}), Dir: dir}
	})
}

func TestStatesOfSSHAreToldApart(t *testing.T) {
	s, program := rsyncdtest.StartSSHD(t), built(t)
	old := filepath.Join(t.TempDir(), "sersync")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho 'sersync: error: there is no command \"receive\"' >&2\nexit 2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*SSH)
		kind   transport.Kind
		lost   bool
	}{
		"no sersync there":      {func(o *SSH) { o.There = "no-such-sersync" }, transport.Misconfigured, false},
		"a sersync that is old": {func(o *SSH) { o.There = old }, transport.Misconfigured, false},
		"key not known there":   {func(o *SSH) { o.Identity, o.Args = "", append(o.Args, "-o", "IdentityFile=none") }, transport.Refused, false},
		"host key not known":    {func(o *SSH) { o.Args = append([]string{"-o", "StrictHostKeyChecking=yes"}, o.Args...) }, transport.Refused, false},
		"missing directory":     {func(o *SSH) { o.Dir += "/no/such" }, transport.Away, true},
		"nobody listens":        {func(o *SSH) { o.Port = 1 }, transport.Away, false},
		"no ssh here":           {func(o *SSH) { o.Program = "no-such-ssh" }, transport.Misconfigured, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := over(s, program, t.TempDir())
			test.change(&o)
			tr := New(Options{Dial: o.Dial, Target: "test"})
			defer tr.Close()
			root, err := os.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			_, err = tr.Apply(t.Context(), transport.Batch{Op: transport.Update, Root: root, Paths: []change.Path{change.Root}})
			var state *transport.Error
			if !errors.As(err, &state) || state.Kind != test.kind || state.Lost != test.lost || state.Hint == "" && state.Kind != transport.Away {
				t.Errorf("got %#v, want %v", err, test.kind)
			}
		})
	}
}
