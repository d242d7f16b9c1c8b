package rsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killAfter is how long a run has to end after SIGTERM.
	killAfter = 2 * time.Second
	// maxStderr bounds what is kept of the messages of one run.
	maxStderr = 1 << 20
)

// A run is one rsync process. It waits for its list on standard input, and may do so for long.
type run struct {
	cmd     *exec.Cmd
	spawner *spawner
	pidfd   int
	list    *os.File // what the process reads its list from is its other end
	// taken is our own handle of the end that the process reads: what is in it when the
	// process has ended was never read.
	taken *os.File
	out   *os.File
	// live: out is read while the process runs. Otherwise out is a file in memory that is read when
	// it has ended, so that nobody is woken for each of its lines.
	live   bool
	stderr boundedBuffer

	handed chan struct{} // closed when the process gets its list
	done   chan struct{} // closed when the process was reaped
	mu     sync.Mutex
	reaped bool // guarded by mu: the pid may be another's from now on

	written int // guarded by mu: how much of the list is in the pipe or was in it

	waiting atomic.Bool // the output waits for its reader: a silence is ours
}

// ending is how a run came to its end.
type ending struct {
	code   int // exit status; -1 when it was killed
	stderr string
	// cause is why it was stopped by us; nil when it ended by itself.
	cause error
	// began says that the process read of its list: the other side may be at work.
	began bool
}

// Causes of a run that was stopped by us, beside the end of its context.
var (
	errSilent = errors.New("nothing was read or written any more")
	errLogin  = errors.New("no connection and login in time")
)

// limits bound a run beside what rsync bounds itself.
type limits struct {
	// login is until the process reads its list, which it does only when it is logged in. A
	// daemon that accepts and says nothing is not covered by --contimeout.
	login time.Duration
	// silence is how long nothing may move.
	silence time.Duration
}

// pipe is a pipe whose end ours (0 reads, 1 writes) does not block, so that a Close ends a Read or Write. That of the
// child does.
func pipe(name string, ours int) (read, write *os.File, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make pipe for %s: %w", name, err)
	}
	_ = unix.SetNonblock(ends[ours], true)
	return os.NewFile(uintptr(ends[0]), name), os.NewFile(uintptr(ends[1]), name), nil
}

// startRun starts rsync with the arguments of a line. It is over when finish or discard has returned.
func (s *spawner) startRun(o *Options, l line, args []string) (*run, error) {
	path, err := exec.LookPath(o.Program)
	if err != nil {
		return nil, err
	}
	r := &run{spawner: s, pidfd: -1, handed: make(chan struct{}), done: make(chan struct{})}
	if r.taken, r.list, err = pipe("list", 1); err != nil {
		return nil, err
	}
	childOut, err := r.openOutput(l.streams())
	if err != nil {
		r.closeFiles()
		return nil, err
	}
	r.cmd = &exec.Cmd{
		Path: path, Args: append([]string{"rsync"}, args...), Env: o.env(),
		Stdin: r.taken, Stdout: childOut, Stderr: &r.stderr, WaitDelay: killAfter,
	}
	err = s.start(r.cmd, &r.pidfd)
	if r.live {
		childOut.Close()
	}
	if err != nil {
		r.closeFiles()
		return nil, err
	}
	if o.daemon() {
		if pidfd, err := unix.FcntlInt(uintptr(r.pidfd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			go r.acknowledge(pidfd)
		}
	}
	go r.reap()
	return r, nil
}

// openOutput makes what the process writes to. A kernel older than 3.17 has no files in memory.
func (r *run) openOutput(stream bool) (child *os.File, err error) {
	if !stream {
		if fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC); err == nil {
			r.out = os.NewFile(uintptr(fd), "output")
			return r.out, nil
		}
	}
	r.live = true
	r.out, child, err = pipe("output", 0)
	return child, err
}

// reap waits for the end of the process. Between the end and the reaping the pid cannot be
// another's, so signals are stopped there.
func (r *run) reap() {
	pid := r.cmd.Process.Pid
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	r.mu.Lock()
	r.reaped = true
	r.mu.Unlock()
	_ = r.cmd.Wait() // the state says all
	r.spawner.release()
	close(r.done)
}

// signal sends sig to the process and those that it started.
func (r *run) signal(sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reaped {
		_ = syscall.Kill(-r.cmd.Process.Pid, sig) // it has not been reaped, so it is there
	}
}

// finish hands list to the process, calls sink with each line of its output, and returns when it has ended: by
// itself, with ctx, or past its limits. An error of sink ends it too. A nil list is that of a run that needs none.
func (r *run) finish(ctx context.Context, list []byte, lim limits, sink func(line []byte) error) ending {
	defer r.closeFiles()
	close(r.handed)
	written := make(chan struct{})
	go func() {
		defer close(written)
		r.write(list)
		r.list.Close()
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	guarded := make(chan struct{})
	go func() {
		defer close(guarded)
		r.guard(ctx, stop, len(list) > 0, lim)
	}()
	if !r.live {
		<-guarded
	}
	var refused error
	err := r.eachLine(func(line []byte) error {
		refused = sink(line)
		return refused
	})
	if err != nil {
		stop(err)
	}
	<-guarded
	e := ending{code: -1, began: list == nil || r.read() > 0}
	select {
	case <-r.done:
		e.code = r.cmd.ProcessState.ExitCode()
	default: // not even SIGKILL ended it: it hangs in the kernel
	}
	e.stderr = r.stderr.String()
	switch {
	case refused != nil:
		// Also when the process had ended well by then: nobody has taken the rest of its lines.
		e.cause = refused
	case e.code != 0:
		e.cause = context.Cause(ctx)
	}
	r.taken.Close() // so that a write of what nobody will read ends
	<-written
	return e
}

// eachLine calls sink with each line of the output.
func (r *run) eachLine(sink func([]byte) error) error {
	if !r.live {
		return eachLine(io.NewSectionReader(r.out, 0, math.MaxInt64), sink)
	}
	return eachLine(r.out, func(line []byte) error {
		r.waiting.Store(true)
		defer r.waiting.Store(false)
		return sink(line)
	})
}

// write writes the list, until the process ends. What of it the process has read is exact at any time.
func (r *run) write(list []byte) {
	conn, err := r.list.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = conn.Write(func(fd uintptr) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for r.written < len(list) {
			n, err := unix.Write(int(fd), list[r.written:])
			switch err {
			case nil:
				r.written += n
			case unix.EINTR:
			default:
				return err != unix.EAGAIN // nobody will read the rest
			}
		}
		return true
	})
}

// read is how many bytes of its list the process has read.
func (r *run) read() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	left, err := unix.IoctlGetUint32(int(r.taken.Fd()), unix.TIOCINQ)
	if err != nil {
		return r.written // not known: the worst
	}
	return r.written - int(left)
}

// guard waits for the end of the process, and stops it when ctx ends or a limit is reached.
func (r *run) guard(ctx context.Context, stop context.CancelCauseFunc, listed bool, lim limits) {
	tick := time.NewTicker(min(lim.login/4, time.Second))
	defer tick.Stop()
	start, moved, last := time.Now(), time.Now(), traffic{}
	for {
		select {
		case <-r.done:
			// Somebody may have inherited the output and live on.
			_ = r.out.SetReadDeadline(time.Now().Add(killAfter))
			return
		case <-ctx.Done():
			r.kill()
			return
		case <-tick.C:
		}
		now := r.traffic()
		switch {
		case listed && time.Since(start) > lim.login && r.read() == 0:
			stop(errLogin)
		case now.read > last.read || now.written > last.written+keepAlive || r.waiting.Load():
			moved = time.Now()
		case time.Since(moved) > lim.silence:
			stop(errSilent)
		}
		last = now
	}
}

// traffic is what a process has read and written so far, files and connections together.
type traffic struct{ read, written uint64 }

// keepAlive is more than what rsync writes in a second to keep a connection from looking dead. It does so
// to a frozen receiver as well, and takes its own writing for a sign of life: its time-out never comes.
const keepAlive = 16

// traffic is zero when it cannot be known.
func (r *run) traffic() traffic {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", r.cmd.Process.Pid))
	if err != nil {
		return traffic{}
	}
	var t traffic
	if _, err := fmt.Sscanf(string(b), "rchar: %d\nwchar: %d\n", &t.read, &t.written); err != nil {
		return traffic{}
	}
	return t
}

// kill ends the process and what it started; bounded, whatever state the process is in.
func (r *run) kill() {
	r.signal(syscall.SIGTERM)
	patience := time.NewTimer(killAfter)
	defer patience.Stop()
	select {
	case <-r.done:
		return
	case <-patience.C:
	}
	r.signal(syscall.SIGKILL)
	patience.Reset(killAfter)
	select {
	case <-r.done:
	case <-patience.C:
	}
	if r.live {
		r.out.Close() // whoever still holds the other end is not waited for
	}
}

// discard ends a run that never got its list: an empty one is a clean end for both sides.
func (r *run) discard() {
	r.list.Close()
	patience := time.NewTimer(killAfter)
	defer patience.Stop()
	select {
	case <-r.done:
	case <-patience.C:
		r.kill()
	}
	r.closeFiles()
}

func (r *run) closeFiles() {
	r.list.Close()
	r.taken.Close()
	r.out.Close()
	if r.pidfd >= 0 {
		unix.Close(r.pidfd)
		r.pidfd = -1
	}
}

// boundedBuffer keeps the beginning of what is written, and its last words are cut off.
type boundedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
	cut bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := maxStderr - b.buf.Len(); len(p) > room {
		b.cut = true
		b.buf.Write(p[:room])
	} else {
		b.buf.Write(p)
	}
	return len(p), nil
}

func (b *boundedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut {
		return b.buf.String() + "\n" + tooMuch + "\n"
	}
	return b.buf.String()
}

// tooMuch stands for the messages that were not kept; nothing understands it.
const tooMuch = "more messages than are kept"

// eachLine calls sink with each line of r, without its end. Progress ends with a carriage return.
func eachLine(r io.Reader, sink func([]byte) error) error {
	buf := make([]byte, 0, 64<<10)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			i := bytes.IndexAny(rest, "\r\n")
			if i < 0 {
				break
			}
			if err := sink(rest[:i]); err != nil {
				return err
			}
			rest = rest[i+1:]
		}
		if len(rest) == cap(buf) {
			rest = rest[:0] // longer than any name can make it
		}
		buf = buf[:copy(buf[:cap(buf)], rest)]
		if err != nil {
			return nil
		}
	}
}
