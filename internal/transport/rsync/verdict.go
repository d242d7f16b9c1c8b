package rsync

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sersync/internal/transport"
)

// Exit codes of rsync that mean something here; rsync(1), EXIT VALUES.
const (
	exitUsage       = 1
	exitProtocol    = 2
	exitFiles       = 3
	exitUnsupported = 4
	exitStart       = 5
	exitSocket      = 10
	exitFileIO      = 11
	exitStream      = 12
	exitPartial     = 23
	exitVanished    = 24
	exitTimeout     = 30
	exitConnect     = 35
	exitNotFound    = 127 // of the shell on the other side
	exitSSH         = 255
)

// fromSender begins the messages of this side.
const fromSender = "rsync: [sender]"

const (
	hintInstall = "install rsync: apt install rsync, dnf install rsync, apk add rsync"
	hintDisk    = "the disk of the target, or what it is mounted from, reports errors: see the log of the kernel there"
	hintRemoval = "let the daemon's module accept --delete-missing-args (see \"refuse options\"), and run rsync 3.1 or newer there"
	hintLogin   = "compare user and password file with \"auth users\" and the secrets file of the daemon"
)

// verdict says what came of a run, and adds it to report when it is known path by path.
func (c *classifier) verdict(e ending, settle time.Duration, report *transport.Report) error {
	e.code = e.trueCode()
	for line := range strings.SplitSeq(e.stderr, "\n") {
		c.message(strings.TrimRight(line, "\r"))
	}
	if e.cause != nil && !e.began && !errors.Is(e.cause, errLogin) && !errors.Is(e.cause, errSilent) {
		return fmt.Errorf("run rsync: %w", e.cause)
	}
	failure := c.failure(e)
	if failure == nil {
		c.report(report)
		return nil
	}
	if e.began && !e.unconnected() && (e.cause != nil || !receiverEnded(e.code)) {
		failure.Unclean, failure.Settle = true, settle
	}
	return failure
}

// failure is why the whole run failed; nil when what came of it is known path by path.
func (c *classifier) failure(e ending) *transport.Error {
	switch {
	case errors.Is(e.cause, errLogin), errors.Is(e.cause, errSilent):
		return &transport.Error{Kind: transport.Away, Err: e.cause}
	case e.cause != nil:
		return &transport.Error{Kind: transport.Broken, Err: e.cause}
	case e.code == 0:
		return nil
	case e.code == exitPartial, e.code == exitVanished:
		if kind, ok := diskState(e.stderr); ok {
			return &transport.Error{Kind: kind, Err: e.err()}
		}
		if c.diskFails() {
			return &transport.Error{Kind: transport.Broken, Err: e.err(), Hint: hintDisk}
		}
		if c.strange != "" || e.code == exitPartial && !c.explained {
			return &transport.Error{Kind: transport.Broken, Err: fmt.Errorf("rsync said what is not understood: %q: %w", c.strange, e.err())}
		}
		return nil
	}
	failure := e.state(c.removal || c.trashing)
	failure.Err = e.err()
	return failure
}

// state is the kind of a run that failed as a whole, and what to do about it.
func (e ending) state(removal bool) *transport.Error {
	says := func(text string) bool { return strings.Contains(e.stderr, text) }
	kind, hint := transport.Broken, ""
	disk, diskKnown := diskState(e.stderr)
	switch {
	case removal && e.trashFailed():
		kind, hint = transport.RemovalsRefused, hintTrash
	case removal && (e.code == exitUnsupported || says("invalid file mode 00") || says("--delete-missing-args: unknown option")):
		kind, hint = transport.RemovalsRefused, hintRemoval
	case e.code == exitStart:
		kind, hint = e.startState()
	case e.code == exitUsage && says("module is read only"):
		kind, hint = transport.ReadOnly, "set \"read only = no\" for the daemon's module"
	case e.code == exitUsage && says("password file"):
		kind, hint = transport.Misconfigured, "the password file must exist and be readable by its owner only: chmod 600"
	case e.code == exitProtocol && says("invalid path from sender"):
		// A directory of the source went while rsync listed what is in it.
	case e.code == exitUsage, e.code == exitProtocol, e.code == exitUnsupported:
		kind, hint = transport.Misconfigured, "one of the two rsyncs does not accept the options: see the rsync options of this target"
	case diskKnown:
		kind = disk
	case e.lostDisk():
		kind, hint = transport.Away, hintDisk
	case e.code == exitFileIO && receiverLine(e.stderr, diskError):
		hint = hintDisk
	case e.code == exitFiles && says("getcwd"):
		kind = transport.SourceGone
	case e.unsaid():
		kind = transport.Away
	case e.code == exitFileIO && says("mkdir"), e.code == exitFiles && says("change_dir"):
		kind, hint = transport.Misconfigured, "make the target's directory, and let the target's user write there"
	case e.code == exitNotFound, !e.began && (says("command not found") || says(": not found")):
		kind, hint = transport.Misconfigured, "on the target, "+hintInstall
	case !e.began && says("Failed to exec "):
		kind, hint = transport.Misconfigured, "install ssh: apt install openssh-client, dnf install openssh-clients, apk add openssh-client"
	case e.code == exitSSH, e.code == exitStream && !e.began:
		kind, hint = e.sshState()
	case e.code == exitSocket, e.code == exitStream, e.code == exitTimeout, e.code == exitConnect:
		kind = transport.Away
	}
	return &transport.Error{Kind: kind, Hint: hint, Lost: e.lostModule() || e.lostDisk() || e.code == exitFiles && says("change_dir")}
}

// lostModule reports whether the daemon could not enter the directory of its module.
func (e ending) lostModule() bool {
	return e.code == exitStart && (strings.Contains(e.stderr, "chdir failed") || strings.Contains(e.stderr, "chroot failed"))
}

// startState is why a daemon did not let us in.
func (e ending) startState() (transport.Kind, string) {
	says := func(text string) bool { return strings.Contains(e.stderr, text) }
	switch {
	case tooMany(e.stderr):
		return transport.Busy, "raise \"max connections\" of the daemon's module"
	case says("auth failed"):
		return transport.Refused, hintLogin
	case says("Unknown module"):
		return transport.Refused, "compare the module's name with the daemon's configuration"
	case says("access denied"):
		return transport.Refused, "add our address to \"hosts allow\" of the daemon's module"
	case e.lostModule():
		return transport.Away, "see whether the directory of the daemon's module is there, and its disk mounted and well"
	}
	return transport.Broken, ""
}

// unsaid reports whether the other side ended by itself, and why is not known: rsync kills its ssh when it is told so, at times before that has passed on
// what was said. A later try says it.
func (e ending) unsaid() bool {
	return (e.code == exitFileIO || e.code == exitFiles) && strings.TrimSpace(e.stderr) == ""
}

// lostDisk reports whether the target's disk gave an error for its directory.
func (e ending) lostDisk() bool { return e.code == exitFiles && receiverLine(e.stderr, diskError) }

func (e ending) sshState() (transport.Kind, string) {
	switch {
	case strings.Contains(e.stderr, "ost key verification failed"), strings.Contains(e.stderr, "host key is known for"):
		return transport.Refused, "add the target's host key to known_hosts: connect once by hand"
	case strings.Contains(e.stderr, "Permission denied ("):
		return transport.Refused, "add our public key to authorized_keys of the target's user"
	case strings.Contains(e.stderr, "Identity file"):
		return transport.Misconfigured, "the ssh key file must exist"
	}
	return transport.Away, ""
}

var receiverCode = pattern(`(?m)^rsync error: .* \(code (\d+)\) at .* \[Receiver=`)

// trueCode is the exit code of the other side, when it ended before its work and said so: the cut
// connection that it leaves may be what this side ends with.
func (e ending) trueCode() int {
	if m := receiverCode().FindStringSubmatch(e.stderr); m != nil && (e.code == exitSocket || e.code == exitStream) {
		if code, err := strconv.Atoi(m[1]); err == nil {
			return code
		}
	}
	return e.code
}

// receiverEnded reports whether an exit code is one that the other side's end came before, or
// that its work never began with.
func receiverEnded(code int) bool {
	switch code {
	case exitUsage, exitProtocol, exitFiles, exitUnsupported, exitStart, exitFileIO, exitPartial, exitVanished, exitConnect, exitNotFound:
		return true
	}
	return false
}

// unconnected reports whether there was never a connection: a run that has its paths as arguments
// seems to have begun at once.
func (e ending) unconnected() bool {
	return e.code == exitSocket && (strings.Contains(e.stderr, "failed to connect") || strings.Contains(e.stderr, "getaddrinfo"))
}

// diskState is what a full or read-only disk of the target made rsync say, for whatever path.
func diskState(stderr string) (kind transport.Kind, ok bool) {
	ok = receiverLine(stderr, func(errno syscall.Errno) bool {
		switch errno {
		case syscall.ENOSPC, syscall.EDQUOT:
			kind = transport.Full
		case syscall.EROFS:
			kind = transport.ReadOnly
		default:
			return false
		}
		return true
	})
	return kind, ok
}

// receiverLine reports whether there is a message that is not the sender's with such an error.
func receiverLine(stderr string, such func(syscall.Errno) bool) bool {
	for line := range strings.SplitSeq(stderr, "\n") {
		if !strings.HasPrefix(line, fromSender) && such(errnoOf(line)) {
			return true
		}
	}
	return false
}

// diskError reports whether an error is one of a disk, or of what is mounted in its place.
func diskError(errno syscall.Errno) bool {
	switch errno {
	case syscall.EIO, syscall.ENXIO, syscall.ENODEV, syscall.EUCLEAN, syscall.ESTALE, syscall.ENOTCONN:
		return true
	}
	return false
}

// err is the first message of a run with its exit code.
func (e ending) err() error {
	first, _, _ := strings.Cut(strings.TrimSpace(e.stderr), "\n")
	if first == "" {
		first = "no message"
	}
	return fmt.Errorf("rsync ended with code %d: %s", e.code, first)
}

// startError is why a run could not even be started.
func startError(err error) error {
	if short := transport.Short(fmt.Errorf("start rsync: %w", err)); short != nil {
		return short
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return &transport.Error{Kind: transport.Misconfigured, Hint: hintInstall, Err: fmt.Errorf("start rsync: %w", err)}
	}
	return &transport.Error{Kind: transport.Broken, Err: fmt.Errorf("start rsync: %w", err)}
}
