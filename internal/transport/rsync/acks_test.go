package rsync

import (
	"testing"

	"golang.org/x/sys/unix"

	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
)

// What acks at once are worth is a matter of time, and shown by the latency row of the benchmark; here, that
// they are asked of the right socket.
func TestSocketOfARunIsTheOneToTheDaemon(t *testing.T) {
	r := newRig(t, rsyncdtest.Options{}, nil)
	r.write(r.src, "f", "x")
	r.mustApply(transport.Update, "f")
	r.warmed(update)
	r.tr.warm.mu.Lock()
	defer r.tr.warm.mu.Unlock()
	kept := r.tr.warm.kept[update].run
	fd := -1
	poll(t, "the run connects", func() bool {
		fd = tcpSocket(kept.cmd.Process.Pid, kept.pidfd)
		return fd >= 0
	})
	defer unix.Close(fd)
	peer, err := unix.Getpeername(fd)
	if err != nil {
		t.Fatal(err)
	}
	if in4, ok := peer.(*unix.SockaddrInet4); !ok || in4.Port != r.d.Port() {
		t.Errorf("the socket leads to %+v", peer)
	}
}
