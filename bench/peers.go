package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// noDelay is worth a factor of twenty to a small rsync run: without it Nagle's algorithm waits for delayed acks.
const noDelay = "--sockopts=TCP_NODELAY"

// peer is a program that keeps targets equal to a source.
type peer struct {
	name string
	// command writes the configuration for a site into its directory and returns what to run, in the foreground.
	command func(*site) (*exec.Cmd, error)
	// receiver returns what to run as the target in the place of an rsync daemon; nil for such a daemon.
	receiver func(*site) (*exec.Cmd, error)
	// far peers reach their targets through a relay with a round trip of farTrip.
	far bool
	// isolated programs, and their daemon, run in namespaces of their own.
	isolated bool
	// slow programs are measured with fewer samples.
	slow bool
}

// competitors are the peers that take part, sersync first.
func (b *bench) competitors() []peer {
	all := []peer{
		b.sersyncPeer(),
		b.nativePeer(),
		{name: "lsyncd", command: lsyncdCommand(noDelay), slow: true},
		{name: "lsyncd-default", command: lsyncdCommand(""), slow: true},
		{name: "2.5.4", command: b.oldCommand, isolated: true, slow: true},
	}
	var part []peer
	for _, p := range all {
		if b.takesPart(p.name) {
			part = append(part, p)
		}
	}
	return part
}

// sersyncPeer is sersync with an rsync daemon as its target.
func (b *bench) sersyncPeer() peer {
	return peer{name: "sersync", command: b.sersyncCommand(false)}
}

// sersyncCommand is the one place that knows the command line and the configuration of sersync. With initial the
// targets are compared at the start.
func (b *bench) sersyncCommand(initial bool) func(*site) (*exec.Cmd, error) {
	return func(s *site) (*exec.Cmd, error) {
		var text strings.Builder
		fmt.Fprintf(&text, "socket: %s\nsources:\n  - path: %s\n    initial: %t\n%s    targets:\n", s.socket(), s.source, initial, s.settings)
		for _, url := range s.urls {
			fmt.Fprintf(&text, "      - url: %s\n        password_file: %s\n", url, s.passwordFile)
		}
		if s.metrics != "" {
			fmt.Fprintf(&text, "metrics:\n  listen: %s\n", s.metrics)
		}
		config := filepath.Join(s.dir, "sersync.yaml")
		if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
			return nil, fmt.Errorf("write configuration of sersync: %w", err)
		}
		binary, err := filepath.Abs(b.sersync)
		if err != nil {
			return nil, fmt.Errorf("find sersync: %w", err)
		}
		cmd := exec.Command(binary, "run", config)
		// Two of them run side by side, and neither meets one that the machine is in use for.
		cmd.Env = append(os.Environ(), "SERSYNC_RUN_DIR="+filepath.Join(s.dir, "run"), "SERSYNC_STATE_DIR="+s.state)
		return cmd, nil
	}
}

// lsyncdCommand runs lsyncd without its delay of 15 s.
func lsyncdCommand(extra string) func(*site) (*exec.Cmd, error) {
	return func(s *site) (*exec.Cmd, error) {
		var text strings.Builder
		fmt.Fprintf(&text, "settings { nodaemon = true, logfile = %q, statusFile = %q, pidfile = %q }\n",
			filepath.Join(s.dir, "lsyncd.log"), filepath.Join(s.dir, "lsyncd.status"), filepath.Join(s.dir, "lsyncd.pid"))
		options := fmt.Sprintf("archive = true, password_file = %q", s.passwordFile)
		if extra != "" {
			options += fmt.Sprintf(", _extra = { %q }", extra)
		}
		for _, url := range s.urls {
			fmt.Fprintf(&text, "sync { default.rsync, source = %q, target = %q, delay = 0, rsync = { %s } }\n",
				s.source, url, options)
		}
		config := filepath.Join(s.dir, "lsyncd.lua")
		if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
			return nil, fmt.Errorf("write configuration of lsyncd: %w", err)
		}
		return exec.Command("lsyncd", config), nil
	}
}

// oldCommand runs sersync 2.5.4 as shipped: its ten workers and the options of its file.
func (b *bench) oldCommand(s *site) (*exec.Cmd, error) {
	var remotes strings.Builder
	for i := range s.targets {
		fmt.Fprintf(&remotes, "<remote ip=\"127.0.0.1\" name=\"t%d\"/>", i)
	}
	text := fmt.Sprintf(oldConfig, s.source, remotes.String(), user, s.passwordFile, s.port, filepath.Join(s.dir, "fail.sh"))
	config := filepath.Join(s.dir, "confxml.xml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration of sersync 2.5.4: %w", err)
	}
	return exec.Command(b.old, "-o", config), nil
}

// oldConfig has everything that 2.5.4 crashes without.
const oldConfig = `<?xml version="1.0" encoding="ISO-8859-1"?>
<head version="2.5">
  <host hostip="localhost" port="8008"></host>
  <debug start="false"/>
  <fileSystem xfs="false"/>
  <filter start="false"><exclude expression="(.*)\.svn"></exclude></filter>
  <inotify>
    <delete start="true"/> <createFolder start="true"/> <createFile start="false"/> <closeWrite start="true"/>
    <moveFrom start="true"/> <moveTo start="true"/> <attrib start="false"/> <modify start="false"/>
  </inotify>
  <sersync>
    <localpath watch="%s">%s</localpath>
    <rsync>
      <commonParams params="-artuz"/>
      <auth start="true" users="%s" passwordfile="%s"/>
      <userDefinedPort start="true" port="%d"/>
      <timeout start="false" time="100"/>
      <ssh start="false"/>
    </rsync>
    <failLog path="%s" timeToExecute="60"/>
    <crontab start="false" schedule="600">
      <crontabfilter start="false"><exclude expression="*.php"></exclude></crontabfilter>
    </crontab>
    <plugin start="false" name="command"/>
  </sersync>
</head>
`

// bareTree is one rsync run over the whole source.
func bareTree(s *site) *exec.Cmd {
	return exec.Command("rsync", "-a", noDelay, "--password-file="+s.passwordFile, s.source+"/", s.urls[0]+"/")
}

// bareMirror is one rsync run over the whole source that removes what is not there, too.
func bareMirror(s *site) *exec.Cmd {
	cmd := bareTree(s)
	cmd.Args = slices.Insert(cmd.Args, 1, "--delete")
	return cmd
}

// bareFile is one rsync run of one file alone.
func bareFile(s *site, path string, options ...string) *exec.Cmd {
	args := append([]string{"-a", "--password-file=" + s.passwordFile}, options...)
	return exec.Command("rsync", append(args, filepath.Join(s.source, path), s.urls[0]+"/"+path)...)
}

// bareNames is one rsync run that is given its files by name.
func bareNames(s *site, names []string) *exec.Cmd {
	cmd := exec.Command("rsync", "-a", noDelay, "--from0", "--files-from=-", "--password-file="+s.passwordFile, s.source+"/", s.urls[0]+"/")
	cmd.Stdin = strings.NewReader("./" + strings.Join(names, "\x00./") + "\x00")
	return cmd
}

// bareRemoval is one rsync run of paths some of which are gone.
func bareRemoval(s *site, paths ...string) *exec.Cmd {
	cmd := exec.Command("rsync", "-a", noDelay, "--delete-missing-args", "--from0", "--files-from=-",
		"--password-file="+s.passwordFile, s.source+"/", s.urls[0]+"/")
	cmd.Stdin = strings.NewReader("./" + strings.Join(paths, "\x00./") + "\x00")
	return cmd
}

// moduleURL names a module of a daemon on the loopback interface.
func moduleURL(port, module int) string {
	return "rsync://" + user + "@127.0.0.1:" + strconv.Itoa(port) + "/t" + strconv.Itoa(module)
}
