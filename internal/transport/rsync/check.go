package rsync

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"sersync/internal/change"
	"sersync/internal/confine"
	"sersync/internal/transport"
)

// daemonPort is the port of a daemon where none is given.
const daemonPort = 873

// Check implements transport.Transport: two dry runs with an empty list, one of updates, one of removals.
func (t *Transport) Check(ctx context.Context) (transport.Facts, error) {
	var facts transport.Facts
	key, err := t.key(nil)
	if err != nil {
		return facts, err
	}
	s, err := newSpawner(&t.o, nil, key, confine.Read)
	if err != nil {
		return facts, err
	}
	defer func() {
		s.release()
		s.close()
		s.wait()
	}()
	if s.confined != nil {
		facts.Limits = append(facts.Limits, fmt.Sprintf(
			"rsync is not confined to the source (%v): who can write there may send files from elsewhere; a kernel with landlock, 5.13 or newer, ends that", s.confined))
	}
	if err := t.learnHere(ctx, s); err != nil {
		return facts, err
	}
	t.mu.Lock()
	facts.Here = t.dialect.here
	t.mu.Unlock()
	facts.There = t.there(ctx, s, facts.Here)
	old := t.old()
	if err := t.probe(ctx, s, probe, old); err != nil {
		if old || t.probe(ctx, s, probe, true) != nil {
			return facts, err
		}
		old = true
	}
	err = t.probe(ctx, s, t.removalProbe(), old)
	var refused *transport.Error
	// A cut right after updates were accepted is an old daemon's way to refuse.
	if errors.As(err, &refused) && (refused.Kind == transport.RemovalsRefused || refused.Kind == transport.Away) {
		hint := refused.Hint
		if refused.Kind == transport.Away {
			hint = t.hintRefused()
		}
		facts.Limits = append(facts.Limits, "removals are refused by the target: "+hint)
		err = nil
	}
	if old {
		facts.Limits = append(facts.Limits, "one of the two rsyncs is older than 3.1.3: changes are compared by content, times may differ within a second, and sweeps miss a rewrite of the same size within one; install a newer one")
	}
	if err == nil && t.dropsOwners(ctx, s, old) {
		facts.Limits = append(facts.Limits, "owners, nor groups that its user is not in, as the rsync there does not run as root: let it, or set \"fake super = yes\" in its rsyncd.conf")
	}
	if older(facts.There, 3, 1, 0) || strings.HasPrefix(facts.There, "protocol ") && protocol(facts.There) < 31 {
		facts.Limits = append(facts.Limits, "rsync there is older than 3.1: removals are refused; install a newer one")
	}
	return facts, err
}

// probe logs in and does nothing.
func (t *Transport) probe(ctx context.Context, s *spawner, l line, old bool) error {
	r, err := s.startRun(&t.o, l, t.o.args(l, old))
	if err != nil {
		return startError(err)
	}
	// All of the run is connecting and login.
	lim := limits{login: t.o.ConnectTimeout, silence: t.o.ConnectTimeout}
	e := r.finish(ctx, []byte{}, lim, func([]byte) error { return nil })
	c := newClassifier(&t.o, "/", l, nil)
	c.removal = l.base() == probeRemovals
	return c.verdict(e, 0, &transport.Report{})
}

const (
	// nobodysID is an owner that no directory has.
	nobodysID = "3999999999"
	// readable is a directory that the confinement leaves open; of its content nothing is asked.
	readable = "/usr/"
)

// ownerParams ask for owners, noOwnerParams take that back.
var (
	ownerParams   = paramSet{"ao", []string{"--archive", "--owner"}}
	noOwnerParams = paramSet{"", []string{"--no-owner", "--no-o"}}
)

// dropsOwners reports whether the target is known to drop owners: its rsync says nothing of them in a run, but a dry one
// shows what it would change. A target that refuses the question, or is not asked to keep owners, drops nothing.
func (t *Transport) dropsOwners(ctx context.Context, s *spawner, old bool) bool {
	if slices.Equal(ownerParams.without(t.o.Params), t.o.Params) || !slices.Equal(noOwnerParams.without(t.o.Params), t.o.Params) {
		return false
	}
	args := append(t.o.options(probeOwners, byList, old), t.o.connection()...)
	r, err := s.startRun(&t.o, probeOwners, append(args, readable, t.o.destination()))
	if err != nil {
		return false
	}
	lim := limits{login: t.o.ConnectTimeout, silence: t.o.ConnectTimeout}
	keeps := false
	e := r.finish(ctx, nil, lim, func(line []byte) error {
		// "cd+++++++++" would be a root that is not there yet.
		if it, ok := parseItem(line); ok && it.path == change.Root && len(line) > 6 && (line[6] == 'o' || line[6] == '+') {
			keeps = true
		}
		return nil
	})
	return !keeps && e.cause == nil && e.code == 0
}

// there is what can be known of the other side: the protocol of a daemon, the version behind ssh.
func (t *Transport) there(ctx context.Context, s *spawner, here string) string {
	switch {
	case t.o.daemon():
		return t.greeting(ctx)
	case t.o.ssh():
		args := t.o.sshArgs()
		path, err := exec.LookPath(args[0])
		if err != nil {
			return ""
		}
		host := t.o.Host
		if t.o.User != "" {
			host = t.o.User + "@" + host
		}
		out, err := t.output(ctx, s, t.o.env(), path, append(args[1:], host, "rsync", "--version")...)
		if err != nil {
			return ""
		}
		return versionOf(out)
	}
	return here
}

// greeting is the protocol that a daemon offers with its first words: "@RSYNCD: 31.0 ...".
func (t *Transport) greeting(ctx context.Context) string {
	port := t.o.Port
	if port == 0 {
		port = daemonPort
	}
	dialer := net.Dialer{Timeout: t.o.ConnectTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(t.o.Host, strconv.Itoa(port)))
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(t.o.ConnectTimeout))
	line, err := bufio.NewReaderSize(conn, 256).ReadSlice('\n')
	fields := strings.Fields(string(line))
	if err != nil || len(fields) < 2 || fields[0] != "@RSYNCD:" {
		return ""
	}
	return "protocol " + fields[1]
}

// output runs a short program in the confinement and returns what it wrote.
func (t *Transport) output(ctx context.Context, s *spawner, env []string, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*t.o.ConnectTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = env
	cmd.WaitDelay = killAfter
	var out boundedBuffer
	cmd.Stdout = &out
	if err := s.start(cmd, nil); err != nil {
		return "", err
	}
	defer s.release()
	if err := cmd.Wait(); err != nil {
		return "", err
	}
	return out.String(), nil
}

var versionLine = pattern(`^rsync +version v?(\S+) +protocol version \d+`)

func versionOf(out string) string {
	if m := versionLine().FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return ""
}

// older reports whether a version is known to be before major.minor.patch.
func older(version string, major, minor, patch int) bool {
	var v [3]int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
		return false
	}
	return slices.Compare(v[:], []int{major, minor, patch}) < 0
}

func protocol(there string) int {
	var n int
	if _, err := fmt.Sscanf(there, "protocol %d", &n); err != nil {
		return 0
	}
	return n
}
