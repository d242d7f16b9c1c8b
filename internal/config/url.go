package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// parseURL reads where a target is: a directory, rsync://USER@HOST:PORT/MODULE/PATH, sersync://USER@HOST:PORT/MODULE,
// USER@HOST::MODULE, USER@HOST:PATH, rsync+ssh://USER@HOST:PORT/PATH or ssh://USER@HOST:PORT/PATH. An error never
// holds the text, which may hold a password.
func parseURL(s string, t *Target) error {
	if strings.ContainsFunc(s, isControl) {
		return errors.New("it holds a control character")
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok && !strings.Contains(scheme, "/") {
		return parseSchemeURL(scheme, rest, t)
	}
	head, path, ok := cutHost(s)
	if !ok {
		t.Kind = Local
		full, err := filepath.Abs(s)
		if s == "" || err != nil {
			return errors.New("write a directory, rsync://user@host/module, or user@host:/path")
		}
		t.Path = full
		return nil
	}
	t.Kind = SSH
	if module, ok := strings.CutPrefix(path, ":"); ok {
		t.Kind, path = Daemon, module
	}
	t.Path = path
	return parseHost(head, t)
}

// cutHost cuts HOST:PATH at its colon, as rsync does: one that comes before any slash, outside of
// the brackets of an IPv6 address.
func cutHost(s string) (host, path string, ok bool) {
	from := 0
	if at := strings.IndexByte(s, '@'); at >= 0 && strings.HasPrefix(s[at+1:], "[") || strings.HasPrefix(s, "[") {
		if end := strings.IndexByte(s, ']'); end >= 0 {
			from = end
		}
	}
	colon := strings.IndexByte(s[from:], ':')
	if colon < 0 || strings.Contains(s[:from+colon], "/") {
		return "", "", false
	}
	return s[:from+colon], s[from+colon+1:], true
}

func parseSchemeURL(scheme, rest string, t *Target) error {
	authority, path, _ := strings.Cut(rest, "/")
	switch scheme {
	case "rsync":
		t.Kind, t.Path = Daemon, path
	case "ssh":
		t.Kind, t.Path = NativeSSH, "/"+path
	case "rsync+ssh":
		t.Kind, t.Path = SSH, "/"+path
	case "file":
		t.Kind, t.Path = Local, filepath.Clean("/"+path)
		if authority != "" {
			return errors.New("a file URL has three slashes: file:///directory")
		}
		return nil
	case "sersync":
		t.Kind, t.Path = Native, path
	default:
		return fmt.Errorf("%s:// is unknown: use rsync://, sersync://, ssh://, user@host:/path or a directory", scheme)
	}
	host, port, ok := cutPort(authority)
	if ok {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return errors.New("the port must be a number from 1 to 65535")
		}
		t.Port = n
	}
	return parseHost(host, t)
}

// cutPort cuts HOST:PORT. The colon of "user:password@" is none of a port.
func cutPort(authority string) (host, port string, ok bool) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.ContainsAny(authority[i:], "@]") {
		return authority, "", false
	}
	return authority[:i], authority[i+1:], true
}

// parseHost reads USER@HOST.
func parseHost(s string, t *Target) error {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		if strings.Contains(s[:at], ":") {
			return errors.New("a password in a URL can be read by everybody: remove it, and use password_file")
		}
		t.User, s = s[:at], s[at+1:]
		if t.User == "" {
			return errors.New("there is no user before the @")
		}
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return errors.New("an IPv6 address stands in brackets: [2001:db8::1]")
		}
		s = inner
	}
	t.Host = s
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// checkTarget refuses what ssh or rsync could take for something else than a name.
func checkTarget(t *Target) error {
	if t.Kind == Local {
		return nil
	}
	if err := checkName("host", t.Host, "/@[]"); err != nil {
		return err
	}
	if t.User != "" {
		if err := checkName("user", t.User, "/@:"); err != nil {
			return err
		}
	}
	if strings.ContainsFunc(t.Path, isControl) {
		return errors.New("the path holds a control character")
	}
	if slices.Contains(strings.Split(t.Path, "/"), "..") {
		return errors.New("the path holds a ..: write where it leads")
	}
	t.Path = strings.TrimRight(t.Path, "/")
	switch t.Kind {
	case Daemon:
		module, _, _ := strings.Cut(t.Path, "/")
		return checkName("module", module, "")
	case Native:
		if strings.Contains(t.Path, "/") {
			return errors.New("a receiver has modules and no paths in them: make a module of the directory there")
		}
		return checkName("module", t.Path, "")
	}
	if !strings.HasPrefix(t.Path, "/") {
		return errors.New("the path over ssh must be absolute, and not the root: user@host:/path")
	}
	return nil
}

func checkName(what, name, forbidden string) error {
	switch {
	case name == "":
		return fmt.Errorf("there is no %s", what)
	case strings.HasPrefix(name, "-"):
		return fmt.Errorf("the %s looks like an option", what)
	case strings.ContainsFunc(name, func(r rune) bool { return r == ' ' || isControl(r) }):
		return fmt.Errorf("the %s holds a blank or a control character", what)
	case strings.ContainsAny(name, forbidden):
		return fmt.Errorf("the %s holds one of %s", what, forbidden)
	}
	return nil
}
