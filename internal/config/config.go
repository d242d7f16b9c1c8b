// Package config is the one typed model of what a person asks for. It is read from confxml.xml of
// sersync 2.5.4, from our YAML, or made from the arguments of `sersync sync`. The path of a
// change never sees it: internal/daemon makes components of it.
package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// Config is all that one instance is asked to do. Every default is filled in. It holds no secret.
type Config struct {
	// File is where it was read from; empty when it was made from arguments.
	File string
	// Name tells instances on one machine apart: in the names of socket, pid file and state directory.
	// Default: the base name of File without extension, and six digits of a hash of its full path.
	Name string
	// Runs bounds the transport runs at one time, over all sources. Default 0: no bound beside one or two a target (-n of 2.5.4, which had 10).
	Runs int
	// StateDir is where the instance keeps what must survive it. Default
	// /var/lib/sersync/NAME, or below $XDG_STATE_HOME when we are not root.
	StateDir string
	// Socket is the unix socket for the command line. Default /run/sersync/NAME.sock, or
	// below $XDG_RUNTIME_DIR when we are not root.
	Socket string
	// PidFile is written by -d. Default: beside the socket, NAME.pid.
	PidFile string
	Log     Log
	Metrics Metrics
	Sources []Source
	FailLog FailLog
	// Plugins are those that a confxml.xml defines, whether they are started or not: which is, is a hook of each source.
	Plugins []Plugin
}

// Log says where the log goes.
type Log struct {
	// File is empty for standard error, or with -d for NAME.log beside the pid file.
	File string
	// Format is "text" (the default) or "json".
	Format string
	// Level is "debug", "info" (the default), "warn" or "error".
	Level string
}

// Metrics says where Prometheus is answered.
type Metrics struct {
	// Listen is HOST:PORT, or :PORT for all addresses of this machine; empty, the default, for nowhere.
	Listen string
}

// Source is one directory tree and where it goes.
type Source struct {
	// Place is where it stands in File; Identity leaves it out, as all places.
	Place Place
	// Name names the source in logs, status and metrics; unique. Default: Path.
	Name string
	// Path is the root directory, absolute and clean.
	Path string
	// Initial compares every target once at the start (the -r of 2.5.4). Default false.
	Initial bool
	// Fill sends everything to a target that the journal does not know yet, at the first start too, and removes nothing
	// there. Default false: the first start only notes what is there.
	Fill bool
	// Delete lets removals reach the targets, sweeps included. Default true.
	Delete bool
	// RemovalBudget holds removals when more goes at once. Default: 1000 paths and 20 percent, or 50 percent.
	RemovalBudget RemovalBudget
	// Rules are the filter, in the order of the file. RulesFor adds what is our own.
	Rules []filter.Rule
	// Events are the kinds of events that are dropped. Default: none.
	Events Events
	// CloseWait is how long a new file may stay open before it is sent all the same. Default 1 s.
	CloseWait time.Duration
	// QuietWait is how long a file that is written and not closed must be quiet. Default 5 s.
	QuietWait time.Duration
	// OpenMax is how long a file that is written and never quiet waits at the most. Default 1 min.
	OpenMax time.Duration
	// Watch is how changes are noticed: "auto" (the default: the best way for each file system), "fanotify", "inotify", or
	// "poll", by a look every GapEvery alone.
	Watch string
	// OneFileSystem leaves out what is mounted below Path. Default false.
	OneFileSystem bool
	// GapEvery is how often what cannot be watched is looked at. Default 30 s.
	GapEvery time.Duration
	Sweep    Sweep
	Verify   Verify
	// Hooks are told of what happens with any target. Those of one target alone are in the target.
	Hooks []Hook
	// Targets may be missing when there are hooks, all of AllTargetsAcked.
	Targets []Target
}

// Events drop kinds of events, as the inotify switches of 2.5.4. The zero value drops nothing.
type Events struct {
	NoCreateFile, NoCreateFolder, NoCloseWrite, NoMoveFrom, NoMoveTo, NoAttrib bool
	// Modify sends a file at each write, without waiting for its close.
	Modify bool
}

// RemovalBudget is by how much a source may shrink within a minute before its removals are held.
type RemovalBudget struct {
	// Off holds nothing.
	Off bool
	// Paths and Percent of the tree must both be exceeded.
	Paths, Percent int
	// Most is the percentage of a tree of a hundred paths or more that is too much by itself.
	Most int
}

// Sweep is the comparison with the targets of one source (the crontab of 2.5.4).
type Sweep struct {
	// Every is the time from the end of one to the start of the next; 0 is never, the
	// default.
	Every time.Duration
	// Schedule is a line of cron for further ones, in local time; empty is never, the default. ParseSchedule takes it.
	Schedule string
	// Exclude are rsync patterns that bind sweeps of everything only (crontabfilter).
	Exclude []string
}

// Verify is the verification of the targets of one source in the background.
type Verify struct {
	// Every is the time from the end of one to the start of the next; 0 is never, the default.
	Every time.Duration
	// Schedule is a line of cron for further ones, in local time; empty is never, the default. ParseSchedule takes it.
	Schedule string
	// Content compares what is equal in size and time by content, too. Default true.
	Content bool
	// Rate bounds how much content is read here for it where our own code reads, in bytes a second; 0 is no bound, the default.
	Rate int64
}

// Wanted reports whether there is a schedule.
func (v Verify) Wanted() bool { return v.Every > 0 || v.Schedule != "" }

// Kind is how a target is reached.
type Kind uint8

const (
	// Daemon is an rsync daemon: rsync://USER@HOST:PORT/MODULE/PATH.
	Daemon Kind = iota + 1
	// SSH is an rsync that ssh starts there: USER@HOST:PATH.
	SSH
	// Local is a directory of this machine.
	Local
	// Native is our own stream to a "sersync receive": sersync://USER@HOST:PORT/MODULE.
	Native
	// NativeSSH is our own stream over ssh, to a directory there: ssh://USER@HOST:PORT/PATH.
	NativeSSH
)

func (k Kind) String() string {
	switch k {
	case Daemon:
		return "daemon"
	case SSH:
		return "ssh"
	case Local:
		return "local"
	case Native:
		return "native"
	case NativeSSH:
		return "native-ssh"
	}
	return "unknown"
}

// Target is one place to replicate to.
type Target struct {
	Place Place
	Kind  Kind
	// User logs in; empty for none (Daemon, Native) or for what ssh says itself.
	User string
	// Host is a name or an address; an IPv6 address without brackets. Empty for Local.
	Host string
	// Port is that of the rsync daemon, of the receiver or of sshd. 0, the default, is 873, 8730, or what ssh says itself.
	Port int
	// Path is MODULE or MODULE/PATH of a daemon, MODULE of a receiver, the absolute directory there over ssh, here for Local.
	Path string
	// PasswordFile holds the password alone, for a daemon or a receiver. Empty for none.
	PasswordFile string
	// CAFile is the authority that signed the certificate of a receiver; empty for none. CertFile and KeyFile are what this side shows to one
	// that asks for a certificate.
	CAFile, CertFile, KeyFile string
	// Params are rsync's options, where rsync carries the data, complete (nothing is to be added but what a run itself needs),
	// each one word: flags in the short form where there is one ("-a"), values behind "=" ("--chmod=D755").
	// What 2.5.4 users wrote is in it as far as it may be passed on, -r and -u included. Default: -a.
	Params []string
	// Timeout ends a run in which nothing moved for so long; whole seconds. Default 100 s.
	Timeout time.Duration
	// ConnectTimeout bounds the connect; whole seconds. Default 10 s.
	ConnectTimeout time.Duration
	// Bandwidth in bytes a second; 0, the default, is no limit.
	Bandwidth int64
	// SSHKey is the private key for SSH. Default: what ssh finds itself.
	SSHKey string
	// SSHOptions are further words for ssh, before the host.
	SSHOptions []string
	// Warm keeps an rsync ready for the next batch while there is activity. Default true.
	Warm bool
	// Pace is the shortest time from the start of one batch to the start of the next; negative is none ("pace: 0"). Default 40 ms with
	// rsync, where a batch is dear, and none without.
	Pace time.Duration
	// Quiet delays every batch until nothing was marked for so long. Default 0.
	Quiet time.Duration
	// Large is the size in bytes from which a file goes in the lane of large files. Default 64 MiB.
	Large int64
	// DeadAfter is how many times a path fails before it is a dead letter. Default 12.
	DeadAfter int
	// Trash is for how many days the target keeps what is removed there. Default 0: what is removed is gone.
	Trash int
	// Xattrs: sweeps compare extended attributes and ACLs, too, where our own code compares ("xattrs", or -X or -A among the options of
	// rsync). They are always sent, and a verification by content always compares them. Default false: it takes longer.
	Xattrs bool
	// Durable: what is acked is on the target's disk, where our own code writes it ("durability: durable"). Default false.
	Durable bool
	// Hooks are told of what happens with this target. Neither AllTargetsAcked nor DeletesHeld is among them.
	Hooks []Hook
}

// FailLog is the record of failures as 2.5.4 users know it.
type FailLog struct {
	// Path is empty for none.
	Path string
	// RetryEvery is how often what failed is tried again, all at once (timeToExecute). Default 60 min.
	RetryEvery time.Duration
}

// Plugin is one plugin of 2.5.4.
type Plugin struct {
	Place Place
	// Name is "command", "socket", "refreshCDN" or "http".
	Name string
	// Start runs it beside the replication; else it is there for -m.
	Start bool
	// Path limits what it is told of to that directory, absolute and clean, and what is in it; empty for everything.
	Path string
	// Prefix, Suffix, IgnoreError and Include belong to command.
	Prefix, Suffix string
	IgnoreError    bool
	Include        []string
	// Host and Port belong to socket and refreshCDN (domainname).
	Host string
	Port int
	// URL belongs to http (url) and refreshCDN (base).
	URL string
	// User and Match belong to refreshCDN. Its password is not kept: it is in PasswordFile, alone, or when that is empty in the
	// confxml.xml that Place names, from where PluginPassword reads it.
	User, Match  string
	PasswordFile string
}

// Place is a line of a configuration file. The zero Place is the command line.
type Place struct {
	File string
	Line int
}

func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// URL is the target in one line: rsync:// or sersync://USER@HOST:PORT/MODULE, USER@HOST:PATH (rsync+ssh://USER@HOST:PORT/PATH when it
// has a port), ssh://USER@HOST:PORT/PATH for our own stream, or the directory. It holds no password. Within a source it is unique.
func (t Target) URL() string {
	if t.Kind == Local {
		return t.Path
	}
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	authority := host
	if t.User != "" {
		authority = t.User + "@" + host
	}
	if t.Port != 0 {
		authority += ":" + strconv.Itoa(t.Port)
	}
	switch {
	case t.Kind == Daemon:
		return "rsync://" + authority + "/" + t.Path
	case t.Kind == Native:
		return "sersync://" + authority + "/" + t.Path
	case t.Kind == NativeSSH:
		return "ssh://" + authority + t.Path
	case t.Port != 0:
		return "rsync+ssh://" + authority + t.Path
	}
	return authority + ":" + t.Path
}

// Rsync reports whether rsync carries the data. To a directory of this machine it does so for what only rsync can.
func (t Target) Rsync() bool {
	plain := func(param string) bool { return slices.Contains([]string{"-a", "-x", "-H", "-A", "-X"}, param) }
	switch t.Kind {
	case Native, NativeSSH:
		return false
	case Local:
		return len(t.Params) == 0 || slices.ContainsFunc(t.Params, func(p string) bool { return !plain(p) })
	}
	return true
}

// Address is HOST:PORT of a daemon or a receiver, for a connection of our own.
func (t Target) Address() string {
	port := t.Port
	switch {
	case port == 0 && t.Kind == Native:
		port = NativePort
	case port == 0:
		port = daemonPort
	}
	return net.JoinHostPort(t.Host, strconv.Itoa(port))
}

// Identity changes when anything of the target changes but the line it stands in. Its hooks have identities of their own.
func (t Target) Identity() string {
	t.Place, t.Hooks = Place{}, nil
	return fmt.Sprintf("%#v", t)
}

// Identity changes when anything of the source itself changes but the line it stands in. Its targets and
// hooks have identities of their own.
func (s Source) Identity() string {
	s.Place, s.Targets, s.Hooks = Place{}, nil, nil
	s.Rules = unplaced(s.Rules)
	return fmt.Sprintf("%#v", s)
}

// RulesFor are all rules of the source: those of the configuration, and one for each file of ours that
// lies inside it. Symlinks are followed on both sides.
func (c *Config) RulesFor(s Source) []filter.Rule {
	rules := append([]filter.Rule(nil), s.Rules...)
	if s.OneFileSystem {
		rules = append(rules, filter.OneFileSystem(s.Path))
	}
	seen := make(map[change.Path]bool)
	for _, name := range []string{c.StateDir, c.Socket, c.PidFile, c.Log.File, c.FailLog.Path} {
		p, inside := within(s.Path, name)
		if inside && p != change.Root && !seen[p] {
			seen[p] = true
			rules = append(rules, filter.Own(p))
		}
	}
	return rules
}
