package rsyncdtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func push(t *testing.T, d *Daemon, args ...string) (string, error) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(src, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-a", "--timeout=3", "--password-file=" + d.PasswordFile(), src}, args...)
	out, err := exec.Command("rsync", args...).CombinedOutput()
	return string(out), err
}

func TestDaemonTakesFilesOfALoggedInUser(t *testing.T) {
	d := Start(t, Options{})
	if out, err := push(t, d, d.URL("data")+"/"); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(d.Dir("data"), "f"))
	if err != nil || string(got) != "content" {
		t.Fatalf("got %q, %v", got, err)
	}
	anonymous := strings.Replace(d.URL("data"), User+"@", "nobody@", 1)
	if out, err := push(t, d, anonymous+"/"); err == nil || !strings.Contains(out, "auth failed") {
		t.Fatalf("another user: %v\n%s", err, out)
	}
}

func TestDaemonStopsFreezesAndComesBackOnItsPort(t *testing.T) {
	d := Start(t, Options{Modules: []Module{{Name: "one"}, {Name: "two", Lines: []string{"read only = yes"}}}})
	if out, err := push(t, d, d.URL("two")+"/"); err == nil || !strings.Contains(out, "read only") {
		t.Fatalf("read-only module: %v\n%s", err, out)
	}
	d.Freeze()
	if out, err := push(t, d, d.URL("one")+"/", "--timeout=1"); err == nil {
		t.Fatalf("frozen daemon answered: %s", out)
	}
	d.Thaw()
	if out, err := push(t, d, d.URL("one")+"/"); err != nil {
		t.Fatalf("thawed daemon: %v\n%s", err, out)
	}
	d.Stop()
	if out, err := push(t, d, d.URL("one")+"/"); err == nil {
		t.Fatalf("stopped daemon answered: %s", out)
	}
	d.Restart()
	if out, err := push(t, d, d.URL("one")+"/"); err != nil {
		t.Fatalf("restarted daemon: %v\n%s", err, out)
	}
}

func TestFreezeReachesTheConnectionsOfTheDaemon(t *testing.T) {
	d := Start(t, Options{})
	cmd := exec.Command("rsync", "-a", "--from0", "--files-from=-", "--password-file="+d.PasswordFile(), "/", d.URL("data")+"/")
	list, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	poll(t, "a connection", func() bool { return len(d.Children()) > 0 })
	d.Freeze()
	poll(t, "all children to stop", func() bool {
		for _, pid := range d.Children() {
			b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
			if err == nil && !strings.Contains(string(b), ") T ") {
				return false
			}
		}
		return true
	})
	d.Thaw()
	list.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("rsync with an empty list: %v", err)
	}
}

func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}
