package session

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Stdio is standard input and output as a connection, as ssh gives them.
func Stdio() (net.Conn, error) {
	for _, fd := range []int{0, 1} {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("take standard input and output: %w", err)
		}
	}
	return stdio{os.NewFile(0, "stdin"), os.NewFile(1, "stdout")}, nil
}

type stdio struct{ in, out *os.File }

func (s stdio) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s stdio) Write(b []byte) (int, error) { return s.out.Write(b) }

func (s stdio) Close() error {
	s.in.Close()
	return s.out.Close()
}

func (s stdio) SetDeadline(t time.Time) error {
	_ = s.in.SetDeadline(t) // a file or a terminal has none, and is no connection
	return s.out.SetDeadline(t)
}

func (s stdio) SetReadDeadline(t time.Time) error  { return s.in.SetReadDeadline(t) }
func (s stdio) SetWriteDeadline(t time.Time) error { return s.out.SetWriteDeadline(t) }

func (stdio) LocalAddr() net.Addr  { return address{} }
func (stdio) RemoteAddr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "stdio" }
func (address) String() string  { return "stdio" }
