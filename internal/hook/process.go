package hook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killAfter is how long a process has to end after SIGTERM, and what it started to end after it.
const killAfter = 2 * time.Second

// process is one run of a program. What it writes on its standard output goes nowhere.
type process struct {
	argv  []string
	stdin []byte
	// dir is its directory; empty for ours.
	dir string
	// quiet leaves out its messages too.
	quiet bool
	event Event
}

// run starts the program and returns when it has ended, and all of its process group with it: what it leaves running there has
// killAfter to end too. The group is ended with ctx, and the process dies with us. What left the group is not followed. An exit
// status of 0 is a success, whatever of its input the program has read.
func (p process) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = p.dir, environment(p.event), killAfter
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.stdin != nil {
		cmd.Stdin = bytes.NewReader(p.stdin)
	}
	said := new(tail)
	if !p.quiet {
		write, err := said.open()
		if err != nil {
			return err
		}
		defer said.close()
		cmd.Stderr = write
	}
	// The signal that kills the process when we die comes when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if write, ok := cmd.Stderr.(*os.File); ok {
		write.Close() // so that what is read ends with those who write
	}
	if err != nil {
		return err
	}
	cause, ended := end(ctx, cmd, said)
	if !ended {
		return fmt.Errorf("it hangs in the kernel, where nothing can end it: %w", cause)
	}
	_ = cmd.Wait() // the state says all
	return outcome(cmd.ProcessState, cause, said.lastLine())
}

// end waits for the process, ends it with ctx, and ends its group. Until it is reaped its number, which is that of the group, cannot
// be another's. The cause is that of ctx when the process was ended by it.
func end(ctx context.Context, cmd *exec.Cmd, said *tail) (cause error, ended bool) {
	group := -cmd.Process.Pid
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		for unix.Waitid(unix.P_PID, -group, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	select {
	case <-exited:
	case <-ctx.Done():
		cause = context.Cause(ctx)
		_ = syscall.Kill(group, syscall.SIGTERM)
		if !within(exited, killAfter) {
			_ = syscall.Kill(group, syscall.SIGKILL)
		}
		if !within(exited, killAfter) {
			go func() { _ = cmd.Wait() }()
			return cause, false
		}
	}
	within(said.ended, killAfter)
	_ = syscall.Kill(group, syscall.SIGKILL)
	return cause, true
}

// within waits until c is closed, and no longer than d. It does not wait for a nil c.
func within(c <-chan struct{}, d time.Duration) bool {
	if c == nil {
		return false
	}
	patience := time.NewTimer(d)
	defer patience.Stop()
	select {
	case <-c:
		return true
	case <-patience.C:
		return false
	}
}

// exitError is how a process ended by itself: "exit status 3", "signal: killed".
type exitError string

func (e exitError) Error() string { return string(e) }

// outcome is what came of a process that wrote so last.
func outcome(state *os.ProcessState, cause error, last string) error {
	var err error = exitError(state.String())
	switch {
	case cause != nil:
		err = fmt.Errorf("it was ended: %w", cause)
	case state.ExitCode() == 0:
		return nil
	}
	if last == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, last)
}

// environment is all that a program gets of ours: nothing in it is a secret.
func environment(e Event) []string {
	env := []string{"SERSYNC_ON=" + string(e.On), "SERSYNC_SOURCE=" + e.Source}
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	env = append(env, "PATH="+path)
	for _, name := range []string{"HOME", "LANG"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// maxTail bounds what is kept of the messages of a process.
const maxTail = 4 << 10

// tail keeps the end of what a process writes.
type tail struct {
	read  *os.File
	ended chan struct{} // closed when nobody can write any more; nil when nobody ever could

	mu  sync.Mutex
	end []byte // guarded by mu
}

// open returns what to write to.
func (t *tail) open() (write *os.File, err error) {
	if t.read, write, err = os.Pipe(); err != nil {
		return nil, err
	}
	t.ended = make(chan struct{})
	go func() {
		defer close(t.ended)
		_, _ = io.Copy(t, t.read)
	}()
	return write, nil
}

// close does not wait for those who left the group, and may write for ever.
func (t *tail) close() {
	t.read.Close()
	<-t.ended
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p[max(0, len(p)-maxTail):]...)
	t.end = append(t.end[:0], t.end[max(0, len(t.end)-maxTail):]...)
	return len(p), nil
}

// lastLine is the last line that is not empty, as far as an error shows it.
func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.TrimSpace(t.end)
	return quote(string(lines[bytes.LastIndexAny(lines, "\r\n")+1:]))
}
