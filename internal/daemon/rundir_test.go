package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sersync/internal/config"
)

func TestRunDirIsRefusedWhenOthersCouldWriteIt(t *testing.T) {
	base := t.TempDir()
	fresh := filepath.Join(base, "a", "b")
	if err := makeRunDir(fresh); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(fresh)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	open := filepath.Join(base, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(fresh, link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, link, file} {
		err := makeRunDir(dir)
		var hinted *Error
		if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), config.RunDirEnv) {
			t.Errorf("%s: error %v", dir, err)
		}
	}
}

func TestSocketsOfTheRunDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.sock", "a.sock", "a.pid", "a.sock.lock"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Sockets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "a.sock"), filepath.Join(dir, "b.sock")}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := Sockets(filepath.Join(dir, "missing")); err != nil || got != nil {
		t.Errorf("missing directory: %q, %v", got, err)
	}
}

func TestPIDFileReplacesAStaleOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.pid")
	if err := os.WriteFile(path, []byte("99999999\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writePID(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != strconv.Itoa(os.Getpid())+"\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestLogFileIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "a.log")
	l, err := openLogFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if _, err := l.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("two\n")
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	write("three\n")
	for name, want := range map[string]string{path + ".1": "one\ntwo\n", path: "three\n"} {
		got, err := os.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// Where it cannot be opened again, the old file takes what is logged.
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := l.reopen(); err == nil {
		t.Error("opened in a directory that is gone")
	}
	write("four\n")
}
