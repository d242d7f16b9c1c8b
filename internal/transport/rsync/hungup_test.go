package rsync

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRunIsFitUntilItsConnectionEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// socket is one of this process, which is not closed before the test ends.
	socket := func(t *testing.T, fd int, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	tcp := func(t *testing.T) int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return socket(t, fd, err)
	}
	connect := func(t *testing.T) (int, net.Conn) {
		fd := tcp(t)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer.Close() })
		return fd, peer
	}
	pair := func(t *testing.T) (fd, peer int) {
		ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return socket(t, ends[0], err), ends[1]
	}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	r := &run{pidfd: pidfd}
	for name, test := range map[string]struct {
		open  func(t *testing.T) int
		ended bool
	}{
		"not connected yet": {tcp, false},
		"connected": {func(t *testing.T) int {
			fd, _ := connect(t)
			return fd
		}, false},
		"ended": {func(t *testing.T) int {
			fd, peer := connect(t)
			peer.Close()
			return fd
		}, true},
		"reset": {func(t *testing.T) int {
			fd, peer := connect(t)
			_ = peer.(*net.TCPConn).SetLinger(0)
			peer.Close()
			return fd
		}, true},
		"ssh there": {func(t *testing.T) int {
			fd, peer := pair(t)
			t.Cleanup(func() { unix.Close(peer) })
			return fd
		}, false},
		"ssh ended": {func(t *testing.T) int {
			fd, peer := pair(t)
			unix.Close(peer)
			return fd
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			fd := test.open(t)
			if test.ended {
				poll(t, "its end", func() bool { return r.hungUp(fd) })
			} else if r.hungUp(fd) {
				t.Error("taken for ended")
			}
		})
	}
}
