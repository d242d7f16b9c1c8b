package cli

import (
	"net"
	"path/filepath"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// supervise SECONDS: listens as a service manager does with Type=notify and WatchdogSec=SECONDS, to all
// that is started from then on.
func supervise(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: supervise SECONDS")
	}
	name := filepath.Join(ts.Getenv("RUN"), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	ts.Check(err)
	ts.Defer(func() { socket.Close() })
	ts.Value("scene").(*scene).manager = socket
	ts.Setenv("NOTIFY_SOCKET", name)
	ts.Setenv("WATCHDOG_USEC", args[0]+"000000")
}

// told PATTERN: the next message to the service manager that matches is there, or comes. What was before it is passed over.
func told(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: told PATTERN")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	socket := ts.Value("scene").(*scene).manager
	ts.Check(socket.SetReadDeadline(time.Now().Add(patience)))
	buffer := make([]byte, 1<<16)
	for {
		n, err := socket.Read(buffer)
		if err != nil {
			ts.Fatalf("never told %q: %v", args[0], err)
		}
		ts.Logf("told %q", buffer[:n])
		if pattern.Match(buffer[:n]) {
			return
		}
	}
}
