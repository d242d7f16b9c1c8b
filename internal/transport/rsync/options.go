// Package rsync puts batches onto a target by running the rsync program: to a daemon, over ssh, or
// to a directory of this machine. It is the transport step of the path of a change.
//
// Every run reads below the root of the source from a working directory that is the root's
// descriptor, gets its list of paths on standard input, and is confined by landlock. No shell ever
// sees a name.
package rsync

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"
)

// SSH says how to reach a host by ssh.
type SSH struct {
	// Program is the ssh program. Default "ssh", found in PATH.
	Program string
	// Identity is the file of the private key; empty leaves the choice to ssh.
	Identity string
	// Args are further arguments for ssh.
	Args []string
}

// Options describe one target. Which of the three kinds it is: a daemon when Module is set, this
// machine when Dir is set and Host is not, ssh otherwise.
type Options struct {
	Host string
	// Port of the daemon or of ssh; 0 is the usual one.
	Port int
	User string
	// Module is the daemon's module.
	Module string
	// Dir is the directory of the target: below the module, or absolute.
	Dir string
	SSH SSH
	// PasswordFile is the daemon's password, alone in a file that only its owner can read.
	PasswordFile string
	// Params are the user's own rsync options, validated before. Default "-a". --recursive
	// and --update are meant for sweeps and are taken out of what is live.
	Params []string
	// Timeout is how long a connection may be silent; whole seconds. Default 100 s.
	Timeout time.Duration
	// ConnectTimeout bounds the connecting; whole seconds. Default 10 s.
	ConnectTimeout time.Duration
	// Bandwidth is the limit in KiB a second of each run; 0 is none.
	Bandwidth int
	// Trash moves what goes on the target to its trash instead of removing it.
	Trash bool
	// NoWarm starts every rsync when there is something to send, instead of keeping one ready.
	NoWarm bool
	// WarmIdle is how long one is kept ready after the last batch. Default 60 s.
	WarmIdle time.Duration
	// Program is the rsync program. Default "rsync", found in PATH.
	Program string
	Log     *slog.Logger
}

// New makes the transport of one target. It starts nothing.
func New(o Options) (*Transport, error) {
	o.defaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("describe rsync target: %w", err)
	}
	t := &Transport{o: o}
	t.warm = newWarm(t)
	return t, nil
}

func (o *Options) defaults() {
	if len(o.Params) == 0 {
		o.Params = []string{"-a"}
	}
	setDefault(&o.Timeout, 100*time.Second)
	setDefault(&o.ConnectTimeout, 10*time.Second)
	setDefault(&o.WarmIdle, time.Minute)
	setDefault(&o.Program, "rsync")
	setDefault(&o.SSH.Program, "ssh")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func (o *Options) validate() error {
	for _, part := range []string{o.Host, o.User, o.Module, o.SSH.Identity, o.PasswordFile, o.SSH.Program, o.Program} {
		if strings.HasPrefix(part, "-") {
			return fmt.Errorf("%q looks like an option", part)
		}
	}
	for _, part := range []string{o.Host, o.User, o.Module} {
		if strings.ContainsAny(part, "/\x00\n ") || strings.ContainsRune(part, '@') {
			return fmt.Errorf("%q cannot be part of an address", part)
		}
	}
	if strings.ContainsAny(o.Dir, "\x00\n") {
		return fmt.Errorf("directory %q cannot be part of an address", o.Dir)
	}
	switch {
	case o.Module != "" && o.Host == "":
		return errors.New("a module needs a host")
	case o.Module == "" && !filepath.IsAbs(o.Dir):
		return fmt.Errorf("directory %q is not absolute", o.Dir)
	case o.Module == "" && o.PasswordFile != "":
		return errors.New("a password file is for a daemon only")
	case o.Timeout < time.Second || o.ConnectTimeout < time.Second:
		return errors.New("a time-out is shorter than a second")
	}
	for _, element := range strings.Split(o.Dir, "/") {
		if element == ".." {
			return fmt.Errorf("directory %q has a \"..\"", o.Dir)
		}
	}
	return nil
}

func (o *Options) daemon() bool { return o.Module != "" }
func (o *Options) local() bool  { return o.Module == "" && o.Host == "" }
func (o *Options) ssh() bool    { return o.Module == "" && o.Host != "" }
