package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/config"
	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

func TestProgressGuessesOnlyWhatItCanKnow(t *testing.T) {
	start := time.Now()
	p := &progress{name: quote, sending: map[string]goal{}}
	at := func(after time.Duration, target replicate.TargetStatus) string {
		target.Name = "copy"
		return p.text(httpd.Status{Sources: []replicate.Status{{
			Name: "www", Indexed: 5000, Targets: []replicate.TargetStatus{target, {Name: "other", State: "idle"}},
		}}}, start.Add(after))
	}
	for _, step := range []struct {
		after  time.Duration
		target replicate.TargetStatus
		want   string
	}{
		// rsync does not say how far a comparison is.
		{12 * time.Second, replicate.TargetStatus{Sweep: &replicate.SweepStatus{Since: start, Found: 345}, Waiting: 9, Lag: 12}, "comparing copy for 12s: 345 differences so far, 5000 paths known"},
		{20 * time.Second, replicate.TargetStatus{State: "sending", Waiting: 1000, WaitingBytes: 4096, Lag: 20}, "sending to copy: 1000 paths (4 KiB) to go"},
		{21 * time.Second, replicate.TargetStatus{State: "sending", Waiting: 900, WaitingBytes: 2048, Lag: 21}, "sending to copy: 900 paths (2 KiB) to go of 1000"},
		{30 * time.Second, replicate.TargetStatus{State: "sending", Waiting: 500, WaitingBytes: 2048, Lag: 30}, "sending to copy: 500 paths (2 KiB) to go of 1000, about 10s"},
		// By bytes it takes longer.
		{40 * time.Second, replicate.TargetStatus{State: "sending", Waiting: 500, WaitingBytes: 3072, Lag: 40}, "sending to copy: 500 paths (3 KiB) to go of 1000, about 1m0s"},
		// More came: what was reckoned is wrong.
		{41 * time.Second, replicate.TargetStatus{State: "sending", Waiting: 2000, Lag: 41}, "sending to copy: 2000 paths to go"},
		{42 * time.Second, replicate.TargetStatus{State: "away", Waiting: 2000, Lag: 42}, "copy is away, lacks 2000 paths for 42s"},
		{43 * time.Second, replicate.TargetStatus{State: "sending", Waiting: 1, Lag: 0.2}, ""},
		{44 * time.Second, replicate.TargetStatus{State: "idle"}, ""},
	} {
		if got := at(step.after, step.target); got != step.want {
			t.Errorf("after %v: %q, want %q", step.after, got, step.want)
		}
	}
}

func TestLineOfProgressStaysBelowAndFits(t *testing.T) {
	var out bytes.Buffer
	c := newConsole(&out)
	c.progress("there is no terminal")
	c.width = func() int { return 10 }
	c.progress("0123456789")
	c.progress("0123456789")
	c.line(time.Time{}, "", "sent")
	c.progress("中文名称五六")
	c.progress("")
	c.line(time.Time{}, "", "end")
	want := "012345678" + "\r\x1b[K00:00:00.000  sent\n012345678" + "\r\x1b[K中文名称" + "\r\x1b[K" + "00:00:00.000  end\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// A real terminal, a real process, a target that is not there.
func TestTerminalShowsProgress(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := nobody.Addr().(*net.TCPAddr).Port
	nobody.Close()
	run, err := os.MkdirTemp("", "sersync")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(run)
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := openTerminal(t)
	cmd := exec.Cmd{
		Path: program, Args: []string{"sersync", "sync", source, fmt.Sprintf("rsync://127.0.0.1:%d/m", port)},
		Env: append(os.Environ(), config.RunDirEnv+"="+run, config.StateDirEnv+"="+t.TempDir(), "TERM=xterm"), Stdout: theirs, Stderr: theirs,
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	giveUp := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer giveUp.Stop()
	var seen strings.Builder
	want := fmt.Sprintf("\r\x1b[Krsync://127.0.0.1:%d/m is away, lacks 1 path for ", port)
	buffer := make([]byte, 4096)
	asked := false
	for {
		n, err := ours.Read(buffer)
		seen.Write(buffer[:n])
		if !asked && strings.Contains(seen.String(), want) {
			asked = true
			_ = cmd.Process.Signal(syscall.SIGINT)
		}
		if err != nil { // EIO: nobody has the other end any more
			if !errors.Is(err, unix.EIO) && !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			break
		}
	}
	if err := cmd.Wait(); err != nil || !asked {
		t.Errorf("end %v, seen %q", err, seen.String())
	}
}

// openTerminal is a new terminal: our end, and that of the program.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 25, Col: 120}); err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}
