package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/transport/rsync/rsyncdtest"
)

// patience bounds what a script waits for, so that a failure ends.
const patience = 30 * time.Second

// TestMain lets the scripts start this test binary as sersync.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sersync": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
		os.Exit(Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}})
}

// TestScripts plays what people do at the command line: one file, one story.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":       code,
			"eventually": eventually,
			"until":      until,
			"signal":     signalIt,
			"halt":       halt,
			"rsyncd":     rsyncd,
			"receiver":   receiver,
			"same":       same,
			"edit":       edit,
			"empty":      empty,
			"supervise":  supervise,
			"told":       told,
			"verified":   verified,
			"fill":       fill,
			"restore":    restore,
			"tmpfs":      tmpfs,
			"listen":     listen,
			"agree":      agree,
		},
	})
}

// scene is what belongs to one script.
type scene struct {
	t testing.TB
	// manager is where sersync tells a service manager how it is.
	manager *net.UnixConn
	// rsyncds are the daemons by their names; "" is that of most scripts.
	rsyncds map[string]*rsyncdtest.Daemon
	// receiver is "sersync receive"; nil when there is none.
	receiver *exec.Cmd
}

func setup(env *testscript.Env) error {
	// A socket's path is short; $WORK is not.
	run, err := os.MkdirTemp("", "sersync")
	if err != nil {
		return err
	}
	env.Setenv(config.RunDirEnv, run)
	env.Setenv(config.StateDirEnv, filepath.Join(env.WorkDir, "state"))
	env.Setenv(daemon.LogDirEnv, filepath.Join(env.WorkDir, "log"))
	env.Setenv("RUN", run)
	// A process built with -race would take a second to end.
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	env.Values["scene"] = &scene{t: env.T().(testing.TB), rsyncds: map[string]*rsyncdtest.Daemon{}}
	env.Defer(func() {
		for _, file := range pidFiles(run) {
			if pid, err := readPID(file); err == nil {
				end(pid, syscall.SIGKILL)
			}
		}
		os.RemoveAll(run)
	})
	return nil
}

// code N COMMAND...: the command ends with exit code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitCode(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func exitCode(err error) int {
	var exited *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exited):
		return exited.ExitCode()
	}
	return -1
}

// eventually COMMAND...: the command succeeds some time soon; with !, it fails.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	poll(ts, strings.Join(args, " "), func() bool { return (ts.Exec(args[0], args[1:]...) == nil) != neg })
}

// until PATTERN COMMAND...: some time soon the command's output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	poll(ts, strings.Join(args, " "), func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && pattern.MatchString(ts.ReadFile("stdout"))
	})
}

// poll returns when the condition holds, and fails the script when it does not in time.
func poll(ts *testscript.TestScript, what string, holds func() bool) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			ts.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// signal NAME [INSTANCE]: sends a signal to the sersync whose pid file begins with INSTANCE.
func signalIt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: signal NAME [INSTANCE]")
	}
	ts.Check(syscall.Kill(pidOf(ts, args[1:]), unix.SignalNum("SIG"+args[0])))
}

// halt [INSTANCE]: ends a sersync as timeout(1) does, with two signals, and returns when it has ended.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	pid := pidOf(ts, args)
	ts.Check(syscall.Kill(pid, syscall.SIGTERM))
	_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended already
	poll(ts, "the end of process "+strconv.Itoa(pid), func() bool { return !alive(pid) })
}

func pidOf(ts *testscript.TestScript, args []string) int {
	prefix := ""
	if len(args) > 0 {
		prefix = args[0]
	}
	for _, file := range pidFiles(ts.Getenv("RUN")) {
		if strings.HasPrefix(filepath.Base(file), prefix) {
			pid, err := readPID(file)
			ts.Check(err)
			return pid
		}
	}
	ts.Fatalf("no pid file %q", prefix)
	return 0
}

func pidFiles(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.pid"))
	return files
}

func readPID(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// alive reports whether the process runs. One that has ended and that nobody waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

// end ends a process of ours that a failed script has left.
func end(pid int, how syscall.Signal) {
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err == nil && strings.HasPrefix(string(name), "sersync\x00") {
		_ = syscall.Kill(pid, how)
	}
}

// edit FILE OLD NEW...: replaces texts in a file, which cannot hold variables of the script.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	for pair := range slices.Chunk(args[1:], 2) {
		if !strings.Contains(text, pair[0]) {
			ts.Fatalf("%q is not in %s", pair[0], args[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// empty DIRECTORY: there is nothing in it.
func empty(ts *testscript.TestScript, neg bool, args []string) {
	entries, err := os.ReadDir(args[0])
	ts.Check(err)
	for _, e := range entries {
		ts.Fatalf("there is still %s", e.Name())
	}
}
