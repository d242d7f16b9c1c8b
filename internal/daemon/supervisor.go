package daemon

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notifyEnv names the socket on which a service manager listens, as in sd_notify(3).
const notifyEnv = "NOTIFY_SOCKET"

// Supervisor is the service manager that started this process and wants to know how it is (systemd with
// Type=notify). A nil one is that of a process that nobody supervises, and is told nothing. What it is told may get
// lost: a service manager that does not listen is no reason not to replicate.
type Supervisor struct {
	socket *net.UnixAddr
	// watchdog is how long it waits for the next sign of life before it kills us; 0 for ever.
	watchdog time.Duration
}

// FindSupervisor is called once, before anything is started: it takes out of the environment what names the
// supervisor, so that no child speaks in our name. (The library's SdNotify asks the environment
// each time, and would have to leave it there.)
func FindSupervisor() *Supervisor {
	name := os.Getenv(notifyEnv)
	os.Unsetenv(notifyEnv)
	// A value that is no number asks for nothing that could be done.
	watchdog, _ := daemon.SdWatchdogEnabled(true)
	if name == "" {
		return nil
	}
	return &Supervisor{socket: &net.UnixAddr{Net: "unixgram", Name: name}, watchdog: watchdog}
}

// Ready says that the daemon is up, or up again after Reloading; status is for a person.
func (s *Supervisor) Ready(status string) {
	s.send(daemon.SdNotifyReady + "\nSTATUS=" + status)
}

// Reloading says that a new configuration is being taken over; Ready ends that.
func (s *Supervisor) Reloading() {
	var now unix.Timespec
	// It cannot fail with this clock. Type=notify-reload tells by the time which reload is meant.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	s.send(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// Stopping says that the daemon finishes what is in flight and ends.
func (s *Supervisor) Stopping() {
	s.send(daemon.SdNotifyStopping + "\nSTATUS=finishes what is in flight")
}

// Status says how the daemon is, to a person.
func (s *Supervisor) Status(status string) { s.send("STATUS=" + status) }

// Alive is a sign of life.
func (s *Supervisor) Alive() { s.send(daemon.SdNotifyWatchdog) }

// sendMax bounds the wait for a supervisor that does not read.
const sendMax = time.Second

func (s *Supervisor) send(message string) {
	if s == nil {
		return
	}
	// Connected anew each time: the supervisor may have started again and listen on another socket of this name.
	conn, err := net.DialUnix(s.socket.Net, nil, s.socket)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(sendMax))
	_, _ = conn.Write([]byte(message))
}
