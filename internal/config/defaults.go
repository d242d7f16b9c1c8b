package config

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Defaults. Those that 2.5.4 has too are the values of the file it was shipped with.
const (
	defaultCloseWait      = time.Second
	defaultQuietWait      = 5 * time.Second
	defaultOpenMax        = time.Minute
	defaultWatch          = "auto"
	defaultGapEvery       = 30 * time.Second
	defaultTimeout        = 100 * time.Second
	defaultConnectTimeout = 10 * time.Second
	defaultPace           = 40 * time.Millisecond
	defaultLarge          = 64 << 20
	defaultDeadAfter      = 12
	defaultFailLog        = "/tmp/rsync_fail_log.sh"
	defaultRetryEvery     = time.Hour
	defaultSchedule       = 600 * time.Minute
	defaultBudgetPaths    = 1000
	defaultBudgetPercent  = 20
	defaultBudgetMost     = 50
	defaultParams         = "-artuz"

	daemonPort = 873
	// NativePort is where "sersync receive" listens when it is told nothing else.
	NativePort = 8730
)

func newSource(place Place, path string) Source {
	return Source{
		Place: place, Path: path, Delete: true,
		RemovalBudget: RemovalBudget{Paths: defaultBudgetPaths, Percent: defaultBudgetPercent, Most: defaultBudgetMost},
		CloseWait:     defaultCloseWait, QuietWait: defaultQuietWait, OpenMax: defaultOpenMax,
		Watch: defaultWatch, GapEvery: defaultGapEvery, Verify: Verify{Content: true},
	}
}

func newTarget(place Place) Target {
	return Target{
		Place: place, Timeout: defaultTimeout, ConnectTimeout: defaultConnectTimeout, Warm: true,
		Large: defaultLarge, DeadAfter: defaultDeadAfter,
	}
}

// fill gives every field that is still empty its default.
func (c *Config) fill() {
	if c.Name == "" {
		c.Name = instanceName(c.File)
	}
	state, run := machineDirs()
	if c.StateDir == "" {
		c.StateDir = filepath.Join(state, c.Name)
	}
	if c.Socket == "" {
		c.Socket = filepath.Join(run, c.Name+".sock")
	}
	if c.PidFile == "" {
		c.PidFile = filepath.Join(run, c.Name+".pid")
	}
	if c.Log.Format == "" {
		c.Log.Format = "text"
	}
	if c.Log.Level == "" {
		c.Log.Level = "info"
	}
	for i := range c.Sources {
		s := &c.Sources[i]
		if s.Name == "" {
			s.Name = s.Path
		}
		s.nameHooks()
	}
}

// instanceName tells configurations of the same name in different directories apart.
func instanceName(file string) string {
	if file == "" {
		return "sync"
	}
	full, err := filepath.Abs(file)
	if err != nil {
		full = file
	}
	hash := sha256.Sum256([]byte(full))
	base := filepath.Base(full)
	return strings.TrimSuffix(base, filepath.Ext(base)) + "-" + hex.EncodeToString(hash[:3])
}

// StateDirEnv names the directory in which instances keep their state, each in one of its own, in the environment.
const StateDirEnv = "SERSYNC_STATE_DIR"

// machineDirs are where instances keep their state, and what lives as long as they run.
func machineDirs() (state, run string) {
	if dir := os.Getenv(StateDirEnv); dir != "" {
		return dir, RunDir()
	}
	if os.Geteuid() == 0 {
		return "/var/lib/sersync", RunDir()
	}
	state = os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = os.TempDir()
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "sersync"), RunDir()
}

// RunDirEnv names the directory that RunDir is, in the environment.
const RunDirEnv = "SERSYNC_RUN_DIR"

// RunDir is where instances of this user keep sockets and pid files unless told otherwise: where
// commands look for them.
func RunDir() string {
	if dir := os.Getenv(RunDirEnv); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/run/sersync"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "sersync")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, ".local", "state", "sersync")
}
