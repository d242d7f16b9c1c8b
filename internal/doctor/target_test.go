package doctor

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sersync/internal/config"
	"sersync/internal/transport"
	"sersync/internal/transport/rsync/rsyncdtest"
)

func TestEachWayATargetRefusesIsNamed(t *testing.T) {
	d := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{
		{Name: "good"},
		{Name: "frozen", Lines: []string{"read only = yes"}},
		{Name: "keeps", Lines: []string{"refuse options = delete"}},
		{Name: "nobody", Lines: []string{"uid = 65534", "gid = 65534"}},
	}})
	dir := t.TempDir()
	wrong := filepath.Join(dir, "wrong")
	write(t, wrong, "never it\n")
	away, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	away.Close()
	text := "sources:\n  - path: " + dir + "\n    targets:\n"
	for _, target := range [][2]string{
		{d.URL("good"), d.PasswordFile()},
		{d.URL("frozen"), d.PasswordFile()},
		{d.URL("keeps"), d.PasswordFile()},
		{d.URL("nobody"), d.PasswordFile()},
		{d.URL("missing"), d.PasswordFile()},
		{"rsync://other@" + d.Host() + fmt.Sprintf(":%d/good/sub", d.Port()), wrong},
		{fmt.Sprintf("rsync://backup@%s/good", away.Addr()), d.PasswordFile()},
		{"rsync://backup@nowhere.invalid/good", d.PasswordFile()},
	} {
		text += fmt.Sprintf("      - {url: %q, password_file: %s}\n", target[0], target[1])
	}
	e := configured(t, text+"    delete: false\n")
	parts := e.targets(t.Context())
	noWorse(t, parts[0])
	want(t, parts[0], OK, "connect", "connected to 127.0.0.1:", "")
	want(t, parts[0], OK, "login", "lets us in: version ", "")
	want(t, parts[1], Problem, "login", "target read-only: ", `set "read only = no"`)
	want(t, parts[2], Warning, "limits", "removals are refused", "")
	want(t, parts[3], Warning, "limits", "owners", "")
	want(t, parts[4], Problem, "login", "target refused: ", "module's name")
	want(t, parts[5], Problem, "login", "target refused: ", "auth users")
	want(t, parts[6], Problem, "connect", "connection refused", "the daemon")
	want(t, parts[7], Problem, "resolve", "nowhere.invalid leads to no address", "DNS")
	for n, p := range parts {
		if p.Name != e.Config.Sources[0].Targets[n].URL() {
			t.Errorf("part %d is %s", n, p.Name)
		}
	}
}

// closing tells when the transport is closed: its target has answered.
type closing struct {
	transport.Transport
	answered chan struct{}
}

func (c closing) Close() error {
	close(c.answered)
	return c.Transport.Close()
}

func TestTargetThatHangsDelaysNobody(t *testing.T) {
	d := rsyncdtest.Start(t, rsyncdtest.Options{})
	answered := make(chan struct{})
	hanging, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer hanging.Close()
	go hang(hanging, answered)
	e := configured(t, fmt.Sprintf("sources:\n  - path: %s\n    targets:\n      - {url: \"rsync://u@%s/m\", connect_timeout: 30s}\n      - {url: %q, password_file: %s}\n",
		t.TempDir(), hanging.Addr(), d.URL("data"), d.PasswordFile()))
	open := e.Open
	e.Open = func(target config.Target) (transport.Transport, error) {
		there, err := open(target)
		if err == nil && target.Port == d.Port() {
			return closing{there, answered}, nil
		}
		return there, err
	}
	parts := e.targets(t.Context())
	want(t, parts[0], OK, "connect", "connected", "")
	want(t, parts[0], Problem, "login", "said goodbye", "")
	want(t, parts[1], OK, "login", "lets us in", "")
}

// hang answers nothing until the other target has answered, and then refuses.
func hang(l net.Listener, answered chan struct{}) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			<-answered
			fmt.Fprint(conn, "@RSYNCD: 31.0\n@ERROR: said goodbye\n")
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
}

func TestProbeIsToldWithRemedies(t *testing.T) {
	d := rsyncdtest.Start(t, rsyncdtest.Options{Modules: []rsyncdtest.Module{
		{Name: "good"},
		{Name: "closed", Lines: []string{"uid = 65534", "gid = 65534"}},
	}})
	text := "sources:\n  - path: " + t.TempDir() + "\n    targets:\n"
	for _, name := range []string{"good", "closed"} {
		text += fmt.Sprintf("      - {url: %q, password_file: %s}\n", d.URL(name), d.PasswordFile())
	}
	e := configured(t, text)
	e.Probe = true
	parts := e.targets(t.Context())
	noWorse(t, parts[0])
	want(t, parts[0], OK, "write", "was written, and removed again", "")
	want(t, parts[0], OK, "clocks", "the clocks agree", "")
	want(t, parts[0], OK, "times", "nanosecond", "")
	want(t, parts[0], OK, "modes", "are stored", "")
	want(t, parts[1], Problem, "write", "permission denied", "write in the target's directory")
}

// A clock that is off gives files a time that is off.
func TestClockThatIsOffIsMeasuredByTheTimeOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	for _, c := range []struct {
		off   time.Duration
		level Level
		text  string
	}{
		{0, OK, "the clocks agree"},
		{time.Hour, Warning, "ahead of ours"},
		{-25 * time.Minute, Warning, "behind ours"},
	} {
		before := time.Now()
		write(t, file, "x")
		after := time.Now()
		info, err := os.Stat(file)
		must(t, err)
		must(t, os.Chtimes(file, time.Time{}, info.ModTime().Add(c.off)))
		info, err = os.Stat(file)
		must(t, err)
		r := transport.Probed{Before: before, After: after, Stamp: info.ModTime().Truncate(time.Second)}
		var p Part
		clocks(&p, r)
		want(t, p, c.level, "clocks", c.text, "")
		low, high := ahead(r.Before, r.After, r.Stamp)
		if c.off < low || c.off > high {
			t.Errorf("%v is not from %v to %v", c.off, low, high)
		}
	}
}

func TestWhatAProbeFoundIsToldWithRemedies(t *testing.T) {
	var p Part
	now := time.Now()
	probed(&p, transport.Probed{Before: now, After: now, Stamp: now, Times: transport.Seconds, Modes: transport.Lost, Owners: transport.Lost, Left: errors.New("gone"), Name: ".sersync-probe-1"}, nil)
	want(t, p, Problem, "probe_left", "may still be there", "remove .sersync-probe-1 there")
	want(t, p, Warning, "times", "whole seconds", "ext4")
	want(t, p, Warning, "modes", "not stored", "incoming chmod")
	want(t, p, Note, "owners", "not stored", "fake super")
	p = Part{}
	probed(&p, transport.Probed{}, &transport.Error{Kind: transport.Full, Err: errors.New("no space")})
	want(t, p, Problem, "write", "no space", "make room")
}
