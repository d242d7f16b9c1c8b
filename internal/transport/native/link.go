package native

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// linkEvery is how often a link is judged anew.
	linkEvery = 250 * time.Millisecond
	// slow is up to which rate, in bytes a second, less to send is worth the work of compressing it.
	slow = 50 << 20
)

// link judges the network below a connection while it is used: whether what is sent waits for it, and not for the target, which
// compression would not make quicker. It is for one goroutine.
type link struct {
	tcp *net.TCPConn // nil for what is none
	// at is when it was judged last, busy and full what the kernel had counted then: how long there was something to send, and how long
	// of that the target had no room for it. sent is how much was acknowledged.
	at         time.Time
	busy, full time.Duration
	sent       uint64
	slow       bool
}

// newLink finds the TCP connection below another one.
func newLink(c net.Conn) *link {
	if below, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = below.NetConn()
	}
	tcp, _ := c.(*net.TCPConn)
	return &link{tcp: tcp, at: time.Now()}
}

// isSlow reports whether the network held up what was sent of late.
func (l *link) isSlow() bool {
	now := time.Now()
	passed := now.Sub(l.at)
	if l.tcp == nil || passed < linkEvery {
		return l.slow
	}
	info, err := tcpInfo(l.tcp)
	if err != nil {
		l.tcp = nil
		return false
	}
	busy, full := time.Duration(info.Busy_time)*time.Microsecond, time.Duration(info.Rwnd_limited)*time.Microsecond
	l.slow = waits(passed, busy-l.busy, full-l.full, info.Bytes_acked-l.sent)
	l.at, l.busy, l.full, l.sent = now, busy, full, info.Bytes_acked
	return l.slow
}

// waits judges a time that passed: there was something to send for most of it, the target had room, and little went.
func waits(passed, busy, full time.Duration, sent uint64) bool {
	return busy > passed/2 && full < busy/5 && float64(sent)/passed.Seconds() < slow
}

func tcpInfo(c *net.TCPConn) (info *unix.TCPInfo, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlled := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if controlled != nil {
		return nil, controlled
	}
	return info, err
}
