package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// install puts a Debian package on the machine when its program is missing, and says so.
func install(ctx context.Context, program, debianPackage string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	progress("%s is missing: apt-get install %s", program, debianPackage)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", debianPackage}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("install package %q (apt-get %s): %w", debianPackage, args[0], err)
		}
	}
	return nil
}

// machine says in one line what the figures were measured on.
func (b *bench) machine(ctx context.Context) string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err.Error()
	}
	fileSystem := "tmpfs"
	if b.disk {
		fileSystem = "ext4 on a loop image"
	}
	daemon := "rsync daemons with default socket options"
	if b.nodelay {
		daemon = "rsync daemons with TCP_NODELAY"
	}
	return fmt.Sprintf("Linux %s, %d cores, load %s, %s, %s; %s; %s; %s",
		unix.ByteSliceToString(name.Release[:]), runtime.NumCPU(), loadAverage(), fileSystem, runtime.Version(),
		version(ctx, "rsync", "--version"), version(ctx, "lsyncd", "--version"), daemon)
}

// version is the first line that a program says about itself.
func version(ctx context.Context, program string, arg string) string {
	out, err := exec.CommandContext(ctx, program, arg).Output()
	if err != nil {
		return program + " is not installed"
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	text, _, _ := strings.Cut(strings.Join(strings.Fields(string(line)), " "), " protocol")
	text = strings.TrimPrefix(text, "Version: ")
	if !strings.HasPrefix(text, program) {
		text = program + " " + text
	}
	return text
}

// loadAverage is the load of the last minute: figures of a machine that is busy with something else mean little.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	average, _, _ := strings.Cut(string(text), " ")
	return average
}
