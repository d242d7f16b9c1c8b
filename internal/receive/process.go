package receive

import (
	"bufio"
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"sersync/internal/confine"
)

// What a process finds open, beside its standard three; the third of those is its log.
const (
	controlFD = 3 + iota
	configFD
	rootFD
	// firstFD is the first of what its kind of process needs.
	firstFD
)

const (
	// startPatience is how long a process may take until it is locked in and has its configuration.
	startPatience = 30 * time.Second
	// maxLogLine is the longest line that a process can log, in bytes.
	maxLogLine = 64 << 10
)

// birth says how a process is started: who it is and what it can open. It has nothing of the environment.
type birth struct {
	// args say what it is; they are seen by all users.
	args []string
	// root is where it is locked into.
	root *os.File
	// rules are what landlock allows beside the program itself.
	rules []confine.Rule
	// user is nil for a process that is as we are.
	user *User
	caps []uintptr
	// files are what it finds at firstFD and behind.
	files []*os.File
	// config is what it is told once it is locked in.
	config any
}

// process is a child of ours.
type process struct {
	os      *os.Process
	control *control
	done    chan struct{} // closed when it has ended
	end     error         // how; set before done is closed
}

// start starts a process and returns when it has its configuration.
func (b *broker) start(c birth) (*process, error) {
	own, theirs, err := newControl()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p := &process{control: own, done: make(chan struct{})}
	if err := b.spawn(p, c, theirs); err != nil {
		own.close()
		return nil, err
	}
	return p, nil
}

// spawn starts the program and tells it its configuration. A process that fails at that is gone when it returns.
func (b *broker) spawn(p *process, c birth, theirs *os.File) error {
	configRead, configWrite, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer configWrite.Close()
	logRead, logWrite, err := os.Pipe()
	if err != nil {
		configRead.Close()
		return fmt.Errorf("make pipe: %w", err)
	}
	cmd := b.command(c, logWrite, append([]*os.File{theirs, configRead, c.root}, c.files...))
	err = b.launch(p, cmd, c)
	configRead.Close()
	logWrite.Close()
	if err != nil {
		logRead.Close()
		return fmt.Errorf("start process %q: %w", strings.Join(c.args, " "), err)
	}
	b.running.Go(func() { b.relayLog(logRead, strings.Join(c.args, " ")) })
	if err := p.configure(configWrite, c.config); err != nil {
		p.kill()
		<-p.done
		return fmt.Errorf("start process %q: %w", strings.Join(c.args, " "), err)
	}
	return nil
}

func (b *broker) command(c birth, log *os.File, files []*os.File) *exec.Cmd {
	cmd := &exec.Cmd{
		Path: filepath.Join(b.processes.Name(), ownProgram),
		Args: append(append([]string{"sersync"}, b.o.Child...), c.args...),
		// The quota of a container is not seen from in there.
		Env:   []string{fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0))},
		Stdin: b.null, Stdout: b.null, Stderr: log,
		ExtraFiles: files,
		// A group of its own, so that Ctrl-C is for us to act on.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, AmbientCaps: c.caps},
	}
	if b.jails {
		cmd.Path = ownProgram
	}
	if c.user != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.user.UID, Gid: c.user.GID, Groups: c.user.Groups}
	}
	return cmd
}

// launch starts the program on a thread that can open nothing else, so that it is confined before its first
// instruction. The thread lives as long: the death signal is tied to it.
func (b *broker) launch(p *process, cmd *exec.Cmd, c birth) error {
	rules := append([]confine.Rule{{Path: b.program.Name(), Access: confine.Run, Dir: b.program}}, c.rules...)
	for _, path := range libraries {
		rules = append(rules, confine.Rule{Path: path, Access: confine.Run})
	}
	started := make(chan error)
	b.running.Go(func() {
		// Never unlocked: the thread ends with the goroutine, and takes its confinement along.
		runtime.LockOSThread()
		var err error
		if b.jails {
			err = b.lockInto(c.root)
		}
		if err == nil && b.landlock {
			err = confine.EnterAlone(rules)
		}
		if err == nil {
			err = cmd.Start()
		}
		p.os = cmd.Process
		started <- err
		if err != nil {
			return
		}
		p.end = cmd.Wait()
		p.control.close()
		close(p.done)
	})
	return <-started
}

// configure waits until the process is locked in, and tells it what it needs to know.
func (p *process) configure(to *os.File, config any) error {
	if err := p.control.conn.SetReadDeadline(time.Now().Add(startPatience)); err != nil {
		return err
	}
	m, file, err := p.control.receive()
	if file != nil {
		file.Close()
	}
	if err == nil && m.Kind != kindReady {
		err = fmt.Errorf("it begins with message %q", m.Kind)
	}
	if err != nil {
		return fmt.Errorf("wait for its first word: %w", err)
	}
	if err := to.SetWriteDeadline(time.Now().Add(startPatience)); err != nil {
		return err
	}
	if err := gob.NewEncoder(to).Encode(config); err != nil {
		return fmt.Errorf("tell it its configuration: %w", err)
	}
	return p.control.conn.SetReadDeadline(time.Time{})
}

// kill ends it at once.
func (p *process) kill() { _ = p.os.Kill() } // one that has ended needs none

// ends waits for the end of a process that was told to end, and sees to it.
func (p *process) ends() bool {
	for range 2 {
		patience := time.NewTimer(grace)
		select {
		case <-p.done:
			patience.Stop()
			return true
		case <-patience.C:
			p.kill()
		}
	}
	return false
}

// relayLog logs what a process logs, until it has closed its end.
func (b *broker) relayLog(from *os.File, name string) {
	defer from.Close()
	lines := bufio.NewReaderSize(from, maxLogLine)
	for {
		line, err := lines.ReadSlice('\n')
		if text := strings.TrimSpace(string(line)); text != "" {
			b.logLine(text, name)
		}
		if err != nil && err != bufio.ErrBufferFull {
			if err != io.EOF {
				b.o.Log.Warn("log of a process is cut off", "process", name, "error", err)
			}
			return
		}
	}
}

// logLine logs one line of a process: a record, or what the runtime says in its last moment.
func (b *broker) logLine(text, name string) {
	var record map[string]any
	if json.Unmarshal([]byte(text), &record) != nil {
		b.o.Log.Error("process says", "process", name, "text", text)
		return
	}
	var level slog.Level
	written, _ := record[slog.LevelKey].(string)
	if level.UnmarshalText([]byte(written)) != nil {
		level = slog.LevelWarn
	}
	msg, _ := record[slog.MessageKey].(string)
	args := []any{"process", name}
	for _, key := range slices.Sorted(maps.Keys(record)) {
		if key != slog.LevelKey && key != slog.MessageKey && key != slog.TimeKey {
			args = append(args, key, record[key])
		}
	}
	b.o.Log.Log(context.Background(), level, msg, args...)
}
