package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// isolatedArg makes this program the first process of new namespaces.
const isolatedArg = "run-isolated"

// isolation is what runs together in namespaces of its own: sersync 2.5.4, which believes that the machine is its
// own, and the daemon that it talks to.
type isolation struct {
	Port                         int
	Daemon, Program              []string
	DaemonAccount, SourceAccount string
}

// command starts this program again, in new network, process and mount namespaces. When it ends, all in there ends.
func (i isolation) command() (*exec.Cmd, error) {
	text, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("encode the isolation: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", isolatedArg, string(text))
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	return cmd, nil
}

// runIsolated is the first process of the namespaces.
func runIsolated(args []string) int {
	var i isolation
	if len(args) != 1 {
		return 2
	}
	err := json.Unmarshal([]byte(args[0]), &i)
	if err == nil {
		err = i.run(context.Background())
	}
	fmt.Fprintln(os.Stderr, "isolated:", err)
	return 1
}

// run starts the daemon and then the program, each on its account, and ends with the program.
func (i isolation) run(ctx context.Context) error {
	if err := loopbackUp(); err != nil {
		return err
	}
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""))
	if err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	daemon, err := i.start(i.DaemonAccount, i.Daemon)
	if err != nil {
		return err
	}
	if err := waitForPort(ctx, i.Port, func() error { return nil }); err != nil {
		return err
	}
	program, err := i.start(i.SourceAccount, i.Program)
	if err != nil {
		return err
	}
	err = program.Wait()
	return errors.Join(fmt.Errorf("run %q: %w", i.Program[0], err), daemon.Process.Kill())
}

// start joins the account, so that the program is on it from its first instruction, and starts it.
func (i isolation) start(accountDir string, args []string) (*exec.Cmd, error) {
	if accountDir != "" {
		if err := (&account{dir: accountDir}).add(0); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %q: %w", args[0], err)
	}
	return cmd, nil
}

// loopbackUp brings up the one interface of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	return nil
}

// keepSysctls remembers the two limits that 2.5.4 overwrites without asking; no namespace holds them apart. The
// function that it returns puts them back.
func keepSysctls() (restore func() error, err error) {
	values := make(map[string]string)
	for _, name := range []string{"max_user_watches", "max_queued_events"} {
		file := filepath.Join("/proc/sys/fs/inotify", name)
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read sysctl: %w", err)
		}
		values[file] = strings.TrimSpace(string(data))
	}
	return func() error {
		var errs []error
		for file, value := range values {
			errs = append(errs, os.WriteFile(file, []byte(value), 0o644))
		}
		return errors.Join(errs...)
	}, nil
}
