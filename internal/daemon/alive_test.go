package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sersync/internal/config"
)

// manager is the socket of a service manager.
type manager struct {
	t      *testing.T
	socket *net.UnixConn
}

func newManager(t *testing.T, watchdog string) manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "sersync") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", watchdog)
	t.Setenv(config.RunDirEnv, dir)
	t.Setenv(config.StateDirEnv, t.TempDir())
	return manager{t, socket}
}

// next is the next message.
func (m manager) next() string {
	m.t.Helper()
	buffer := make([]byte, 1<<16)
	m.must(m.socket.SetReadDeadline(time.Now().Add(patience)))
	n, err := m.socket.Read(buffer)
	m.must(err)
	return string(buffer[:n])
}

// until reads until a message holds the text, and returns it.
func (m manager) until(text string) string {
	m.t.Helper()
	for {
		if message := m.next(); strings.Contains(message, text) {
			return message
		}
	}
}

func (m manager) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func TestTheWatchdogIsNotFedWhileTheMainLoopHangs(t *testing.T) {
	m := newManager(t, "2000000")
	dir := t.TempDir()
	m.must(errors.Join(os.Mkdir(filepath.Join(dir, "a"), 0o755), os.Mkdir(filepath.Join(dir, "b"), 0o755)))
	text := strings.ReplaceAll("sources: [{path: DIR/a, targets: [{url: DIR/b}]}]", "DIR", dir)

	reads, goOn := make(chan struct{}), make(chan struct{})
	first := true
	hup := make(chan os.Signal)
	d := New(Options{
		Load: func() (*config.Config, []config.Problem, error) {
			if !first {
				reads <- struct{}{}
				<-goOn
			}
			first = false
			return config.Parse(filepath.Join(dir, "c.yaml"), []byte(text))
		},
		NewLog:     func(io.Writer, config.Log, slog.Leveler) *slog.Logger { return slog.New(slog.DiscardHandler) },
		Hup:        hup,
		Supervisor: FindSupervisor(),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()

	m.until("READY=1\nSTATUS=sources: 1, targets: 1")
	m.until("WATCHDOG=1")
	hup <- syscall.SIGHUP
	m.until("RELOADING=1\nMONOTONIC_USEC=")
	<-reads
	// What was on its way when the loop stopped answering may still come; the word that it hangs is after that.
	m.until("STATUS=ask the main loop: no answer")
	m.must(m.socket.SetReadDeadline(time.Now().Add(2 * time.Second))) // four rounds
	if n, err := m.socket.Read(make([]byte, 1<<10)); err == nil {
		t.Errorf("a message of %d bytes while the main loop hangs", n)
	}
	close(goOn)
	m.until("READY=1\nSTATUS=")
	m.until("WATCHDOG=1")
	cancel()
	m.until("STOPPING=1")
	m.must(<-ended)
}

func TestTheSupervisorIsTakenOutOfTheEnvironment(t *testing.T) {
	newManager(t, "2000000")
	if FindSupervisor() == nil {
		t.Error("no supervisor found")
	}
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if value, there := os.LookupEnv(name); there {
			t.Errorf("children would inherit %s=%s", name, value)
		}
	}
	if FindSupervisor() != nil {
		t.Error("a supervisor where nobody supervises")
	}
}
