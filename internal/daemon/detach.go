package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// readyEnv tells a detached child the descriptor on which its parent waits for a word.
const readyEnv = "SERSYNC_READY_FD"

// Word is what a detached child tells its parent: that it is up, or why it is not.
type Word struct {
	PID     int    `json:"pid"`
	LogFile string `json:"log_file,omitempty"`
	Error   string `json:"error,omitempty"`
	Hint    string `json:"hint,omitempty"`
	// Code is the exit code that belongs to the error.
	Code int `json:"code,omitempty"`
}

// ErrEnded says that a detached child ended without a word.
var ErrEnded = errors.New("the daemon ended before it was up")

// Detach starts this program again with the same arguments in a session of its own, and returns the
// child's word. The child goes on when it is up; it is stopped when ctx ends before that.
func Detach(ctx context.Context) (Word, error) {
	program, err := os.Executable()
	if err != nil {
		return Word{}, fmt.Errorf("find this program: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return Word{}, fmt.Errorf("start daemon: %w", err)
	}
	defer r.Close()
	child := &exec.Cmd{
		Path:        program,
		Args:        os.Args,
		Env:         append(os.Environ(), readyEnv+"=3"),
		ExtraFiles:  []*os.File{w},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = child.Start()
	w.Close()
	if err != nil {
		return Word{}, fmt.Errorf("start daemon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { child.Process.Signal(syscall.SIGTERM) })
	defer stop()

	var word Word
	text, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err == nil {
		err = json.Unmarshal(text, &word)
	}
	if err != nil {
		return Word{}, fmt.Errorf("%w: %v", ErrEnded, child.Wait())
	}
	if word.Error != "" {
		// The word says more than the exit status does.
		_ = child.Wait()
		return word, nil
	}
	return word, child.Process.Release()
}

// Parent is the other side of Detach: it takes the one word of a detached child. The zero
// Parent is that of a process that nobody detached, and is told nothing.
type Parent struct {
	pipe *os.File
}

// FindParent is called once, before anything is started.
func FindParent() Parent {
	fd, err := strconv.Atoi(os.Getenv(readyEnv))
	if err != nil || fd < 3 {
		return Parent{}
	}
	os.Unsetenv(readyEnv)
	unix.CloseOnExec(fd)
	return Parent{pipe: os.NewFile(uintptr(fd), "parent")}
}

// Waits reports whether this process was detached and its parent waits for a word.
func (p *Parent) Waits() bool { return p.pipe != nil }

// Tell says the word. Only the first one counts.
func (p *Parent) Tell(word Word) {
	if p.pipe == nil {
		return
	}
	word.PID = os.Getpid()
	// A parent that is gone needs no word.
	_ = json.NewEncoder(p.pipe).Encode(word)
	p.pipe.Close()
	p.pipe = nil
}
