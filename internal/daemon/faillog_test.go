package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sersync/internal/config"
)

var discard = slog.New(slog.DiscardHandler)

// failing is a fail log of its own.
func failing(t *testing.T, path string) (*failLog, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	text := "#errno \"x\"\n"
	f := &failLog{
		log:    slog.New(slog.NewTextHandler(&said, nil)),
		config: func() config.FailLog { return config.FailLog{Path: path, RetryEvery: time.Hour} },
		text:   func() []byte { return []byte(text) },
		retry:  func() {},
	}
	t.Cleanup(f.close)
	return f, &said
}

func contents(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFailLogIsForItsOwnerAloneAndFollowsWhatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fail.sh")
	f, said := failing(t, path)
	for _, text := range []string{"one\n", "one\ntwo\n", "two\n", ""} {
		f.text = func() []byte { return []byte(text) }
		f.refresh()
		if got := contents(t, path); got != text {
			t.Errorf("it says %q, want %q", got, text)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// Somebody takes it away: it is made anew.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.text = func() []byte { return []byte("three\n") }
	f.refresh()
	if got := contents(t, path); got != "three\n" {
		t.Errorf("it says %q", got)
	}
	if said.Len() > 0 {
		t.Errorf("log %q", said)
	}
}

func TestFailLogThatSomebodyElsePutThereIsRefused(t *testing.T) {
	for name, put := range map[string]func(path, other string) error{
		"symbolic link": func(path, other string) error { return os.Symlink(other, path) },
		"another name":  func(path, other string) error { return os.Link(other, path) },
		"no regular":    func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
		"belongs to": func(path, _ string) error {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				return err
			}
			return os.Chown(path, 12345, 12345)
		},
		"is a directory": func(path, _ string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "belongs to" && os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			dir := t.TempDir()
			path, other := filepath.Join(dir, "fail.sh"), filepath.Join(dir, "other")
			if err := os.WriteFile(other, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := put(path, other); err != nil {
				t.Fatal(err)
			}
			f, said := failing(t, path)
			f.refresh()
			f.refresh()
			if strings.Count(said.String(), name) != 1 {
				t.Errorf("log %q does not say %q once", said, name)
			}
			if got := contents(t, other); got != "precious" {
				t.Errorf("the other file says %q", got)
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			f.refresh()
			if got := contents(t, path); got == "" || !strings.Contains(said.String(), "written again") {
				t.Errorf("it says %q; log %q", got, said)
			}
		})
	}
}

// What 2.5.4 leaves has mode 0777: somebody may have it open.
func TestFailLogThatOthersCouldWriteIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fail.sh")
	old, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := old.Chmod(0o777); err != nil {
		t.Fatal(err)
	}
	f, _ := failing(t, path)
	f.refresh()
	if _, err := old.WriteString("touch canary\n"); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, path); got != string(f.text()) {
		t.Errorf("it says %q", got)
	}
}

func TestTwoInstancesDoNotShareAFailLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fail.sh")
	one, _ := failing(t, path)
	two, said := failing(t, path)
	two.text = func() []byte { return []byte("two\n") }
	one.refresh()
	two.refresh()
	if got := contents(t, path); got != string(one.text()) || !strings.Contains(said.String(), "another sersync writes it") {
		t.Errorf("it says %q; log %q", got, said)
	}
	one.close()
	two.refresh()
	if got := contents(t, path); got != "two\n" {
		t.Errorf("it says %q", got)
	}
}

func TestFailLogGoesWhereAReloadSays(t *testing.T) {
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
	f, _ := failing(t, before)
	f.refresh()
	f.config = func() config.FailLog { return config.FailLog{Path: after} }
	f.refresh()
	if got := contents(t, after); got != string(f.text()) {
		t.Errorf("the new one says %q", got)
	}
	if got := contents(t, before); got != "" {
		t.Errorf("the old one says %q", got)
	}
}

func TestFailLogInADirectoryOpenToEverybodyIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "fail.sh")
	f, said := failing(t, path)
	f.refresh()
	if _, err := os.Lstat(path); err == nil || !strings.Contains(said.String(), "everybody can replace") {
		t.Errorf("log %q", said)
	}
}

func TestWhatFailedIsTriedAgainEverySoOften(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fail.sh")
	synctest.Test(t, func(t *testing.T) {
		f, _ := failing(t, path)
		retries := 0
		f.retry = func() { retries++ }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.run(ctx)
		}()
		<-time.After(3*time.Hour + time.Minute)
		synctest.Wait()
		f.text = func() []byte { return []byte("at the end\n") }
		cancel()
		<-done
		if retries != 3 {
			t.Errorf("%d retries in three hours", retries)
		}
		if got := contents(t, path); got != "at the end\n" {
			t.Errorf("it says %q", got)
		}
	})
}
