package rsyncd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sersync/internal/config"
	"sersync/internal/receive"
)

// Load reads a configuration and what it names. The problems are all there are, warnings and notices too; the
// error is a *config.SyntaxError when there is no file to read, a *config.InvalidError when a problem is an error.
func Load(path string, c Certificates) (*receive.Config, []config.Problem, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, nil, &config.SyntaxError{Place: config.Place{File: path}, Err: err}
	}
	return parse(path, data, c, readFile)
}

// Single is the configuration of a receiver of one directory, which has no file: who is in the secrets file may send to it, and without one who has a certificate.
func Single(root, secretsFile string, c Certificates) (*receive.Config, []config.Problem, error) {
	r := newReader(readFile)
	r.single = true
	c.put(r.globals)
	at := func(value string) entry { return entry{value: value} }
	m := &section{name: SingleName, settings: entries{
		"path": at(root), "secrets file": at(secretsFile), "auth users": at("*"), "read only": at("no"), "uid": at("0"), "gid": at("0"),
	}}
	r.modules = append(r.modules, m)
	return r.finish("")
}

// SingleName is the module of a receiver of one directory.
const SingleName = "data"

func parse(path string, data []byte, certificates Certificates, read func(string) ([]byte, error)) (*receive.Config, []config.Problem, error) {
	r := newReader(read)
	r.checkFile(path)
	r.file(path, data, 0)
	certificates.put(r.globals)
	if len(r.modules) == 0 {
		r.fail(config.Place{File: path}, "there is no module", "", "write [NAME], and below it path = DIRECTORY")
	}
	return r.finish(path)
}

func (r *reader) finish(path string) (*receive.Config, []config.Problem, error) {
	c := &receive.Config{
		Listen:  r.listen(),
		PIDFile: r.absolute(r.globals, "pid file"),
		LogFile: r.absolute(r.globals, "log file"),

		Certificates: r.certificates(),
	}
	for _, s := range r.modules {
		c.Modules = append(c.Modules, r.module(s))
	}
	isError := func(p config.Problem) bool { return p.Severity == config.Error }
	if slices.ContainsFunc(r.problems, isError) {
		return nil, r.problems, &config.InvalidError{File: path, Problems: r.problems}
	}
	return c, r.problems, nil
}

// checkFile refuses a configuration by which somebody else could make root do what he likes.
func (r *reader) checkFile(path string) {
	info, err := os.Stat(path)
	if err == nil && os.Geteuid() == 0 && info.Mode().Perm()&0o022 != 0 {
		r.fail(config.Place{File: path}, "others than its owner can write the configuration, and we are root", "", "chmod go-w "+path)
	}
}

func (r *reader) listen() string {
	port := strconv.Itoa(config.NativePort)
	if e, ok := r.globals["port"]; ok {
		if n, err := strconv.ParseUint(e.value, 10, 16); err != nil || n == 0 {
			r.fail(e.place, "port is no number of a port:", e.value, "write one from 1 to 65535, or leave it out for "+port)
		} else {
			port = strconv.FormatUint(n, 10)
		}
	}
	return net.JoinHostPort(r.globals["address"].value, port)
}

// absolute is the value of a setting that is a path; "" when there is none.
func (r *reader) absolute(of entries, name string) string {
	e, ok := of[name]
	if !ok || e.value == "" {
		return ""
	}
	if !filepath.IsAbs(e.value) {
		r.fail(e.place, name+" is not absolute:", e.value, "begin it with a slash")
		return ""
	}
	return filepath.Clean(e.value)
}

// boolean is the value of a switch.
func (r *reader) boolean(of entries, name string, otherwise bool) bool {
	e, ok := of[name]
	if !ok {
		return otherwise
	}
	if on, ok := truth(e.value); ok {
		return on
	}
	if strings.EqualFold(e.value, "unset") {
		return otherwise
	}
	r.fail(e.place, name+" is neither yes nor no:", e.value, "write yes or no")
	return otherwise
}

func (r *reader) integer(of entries, name string, low int) int {
	e, ok := of[name]
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(e.value)
	if err != nil || n < low || n > 1<<30 {
		r.fail(e.place, name+" is no number:", e.value, fmt.Sprintf("write a whole number from %d", low))
		return 0
	}
	return n
}
