package rsync

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ackEvery is how often acks are sent at once while a run is short, ackSlow when it is long: there a
	// few stalls do not count.
	ackEvery, ackSlow = time.Millisecond, 20 * time.Millisecond
	ackLong           = 300 * time.Millisecond
)

// acknowledge keeps the daemon from waiting for us. A daemon without "socket options = TCP_NODELAY" holds
// its next small message until the last one is acknowledged (Nagle), and our kernel delays that
// by 40 ms when there is nothing to say: most of the time of a small run. rsync cannot ask for quick
// acks (tcp(7), TCP_QUICKACK, is not permanent), so we ask for its socket, by our own descriptor of it.
//
// It returns when the process has ended. While it waits for its list nothing is asked.
func (r *run) acknowledge(pidfd int) {
	defer unix.Close(pidfd)
	socket := -1
	defer func() {
		if socket >= 0 {
			unix.Close(socket)
		}
	}()
	tick := time.NewTicker(ackEvery)
	defer tick.Stop()
	start, handed := time.Now(), r.handed
	for {
		select {
		case <-r.done:
			return
		case <-handed:
			start, handed = time.Now(), nil
			tick.Reset(ackEvery)
			continue
		case <-tick.C:
		}
		if time.Since(start) > ackLong {
			if handed != nil {
				tick.Stop() // it is logged in, and waits
				continue
			}
			tick.Reset(ackSlow)
		}
		if socket < 0 {
			socket = tcpSocket(r.cmd.Process.Pid, pidfd)
			continue
		}
		_ = unix.SetsockoptInt(socket, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}
}

// tcpSocket is a descriptor of our own of the TCP socket of a process; -1 when it has none (yet).
func tcpSocket(pid, pidfd int) int {
	for _, n := range descriptors(pid) {
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if err != nil {
			continue
		}
		if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil && protocol == unix.IPPROTO_TCP {
			return fd
		}
		unix.Close(fd)
	}
	return -1
}

// descriptors are the open descriptors of a process beside the first three.
func descriptors(pid int) []int {
	entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return nil
	}
	var open []int
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil && n > 2 {
			open = append(open, n)
		}
	}
	return open
}
