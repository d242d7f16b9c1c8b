package confine

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// on runs do on a thread of its own, which is not used again.
func on(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		do()
	}()
	<-done
}

func TestEnterAllowsWhatTheRulesSayAndNothingElse(t *testing.T) {
	allowed, other := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(allowed)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	on(t, func() {
		if err := Enter([]Rule{{Dir: dir, Access: Write}, {Path: filepath.Join(other, "missing"), Access: Read}}); err != nil {
			t.Error(err)
			return
		}
		if err := os.WriteFile(filepath.Join(allowed, "file"), nil, 0o600); err != nil {
			t.Errorf("write where it is allowed: %v", err)
		}
		if _, err := os.ReadFile(filepath.Join(other, "file")); !errors.Is(err, unix.EACCES) {
			t.Errorf("read elsewhere: %v, want EACCES", err)
		}
	})
	if _, err := os.ReadFile(filepath.Join(other, "file")); err != nil {
		t.Errorf("another thread is confined too: %v", err)
	}
}

func TestEnterAloneAllowsNoConnection(t *testing.T) {
	if abi, err := ABI(); err != nil || abi < 4 {
		t.Fatalf("this test needs landlock ABI 4: %d, %v", abi, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	on(t, func() {
		if err := EnterAlone(nil); err != nil {
			t.Error(err)
			return
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		to := &unix.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
		if err := unix.Connect(fd, to); !errors.Is(err, unix.EACCES) {
			t.Errorf("connect: %v, want EACCES", err)
		}
	})
}
