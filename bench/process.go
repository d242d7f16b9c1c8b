package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that runs beside the measurement. It is the head of a process group of its own and dies with us.
type process struct {
	cmd    *exec.Cmd
	output string
	done   chan struct{}
	err    error
	// over: nothing of it runs any more, and its number may be another's by now.
	over bool
}

// startProcess starts a program whose output goes to a file.
func startProcess(cmd *exec.Cmd, output string) (*process, error) {
	f, err := os.Create(output)
	if err != nil {
		return nil, fmt.Errorf("make output file: %w", err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %q: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, output: output, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// pid is the number of the process, which is the number of its group too.
func (p *process) pid() int { return p.cmd.Process.Pid }

// ended is nil while the process runs, and afterwards says how it ended and what it said last.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("run %q: it ended too early (%v): %s", p.cmd.Path, p.cmd.ProcessState, p.tail())
	default:
		return nil
	}
}

// failed is nil while the process runs, and when it has ended well.
func (p *process) failed() error {
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("run %q: %w: %s", p.cmd.Path, p.err, p.tail())
		}
	default:
	}
	return nil
}

// stop ends the process politely, then its whole group.
func (p *process) stop() error {
	return p.end(unix.SIGTERM, 5*time.Second)
}

// end ends the process by a signal, and its whole group when it has ended, or does not within the limit.
func (p *process) end(signal unix.Signal, limit time.Duration) error {
	if p.over {
		return nil
	}
	err := unix.Kill(p.pid(), signal)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end %q: %w", p.cmd.Path, err)
	}
	select {
	case <-p.done:
	case <-time.After(limit):
	}
	if err := unix.Kill(-p.pid(), unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill %q: %w", p.cmd.Path, err)
	}
	<-p.done
	p.over = true
	return nil
}

// tail is the end of the output.
func (p *process) tail() string {
	const size = 2000
	f, err := os.Open(p.output)
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
