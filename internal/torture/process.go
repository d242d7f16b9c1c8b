package torture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait for a program or a port.
const patience = 30 * time.Second

// process is a program that was started here. It is the head of a process group of its own and dies with us.
type process struct {
	pid  int
	done chan struct{}
	// err is how it ended, once done is closed.
	err error
}

// start starts a program whose output is appended to a file. before, when not nil, runs on the thread that starts it. The
// thread lives as long as the program, because the death signal is tied to it.
func start(cmd *exec.Cmd, output string, before func() error) (*process, error) {
	f, err := os.OpenFile(output, os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open output of %q: %w", cmd.Path, err)
	}
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer close(p.done)
		defer f.Close()
		err := error(nil)
		if before != nil {
			err = before()
		}
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %q: %w", cmd.Path, err)
	}
	return p, nil
}

// signal sends a signal to the program alone.
func (p *process) signal(sig unix.Signal) error { return gone(unix.Kill(p.pid, sig)) }

// signalAll sends a signal to the program and all that it started.
func (p *process) signalAll(sig unix.Signal) error { return gone(unix.Kill(-p.pid, sig)) }

// gone takes it for no error that a process has ended.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// ended reports whether the program has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait returns when the program has ended.
func (p *process) wait(limit time.Duration) error {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
		return fmt.Errorf("process %d does not end within %v", p.pid, limit)
	}
}

// kill ends the program and all that it started, at once.
func (p *process) kill() error {
	return errors.Join(p.signalAll(unix.SIGKILL), p.wait(patience))
}

// tail is the end of a file of output.
func tail(file string) string {
	const size = 3000
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > size {
		if _, err := f.Seek(-size, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
