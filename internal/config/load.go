package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// maxFile bounds the size of a configuration file in bytes.
const maxFile = 1 << 20

// Load reads and validates a configuration. The problems are all there are, whatever their severity;
// with an error among them the Config is nil and the error an *InvalidError. A file that is no configuration
// at all is a *SyntaxError.
func Load(path string) (*Config, []Problem, error) {
	c, problems, err := Understand(path)
	if err != nil {
		c = nil
	}
	return c, problems, err
}

// LoadPlugin reads a confxml.xml for the plugins of that name alone, started there or not: nothing is replicated. Of several the
// first one counts that 2.5.4 would have run. The instance is another one than that of the file.
func LoadPlugin(path string, names ...string) (*Config, []Problem, error) {
	r := &report{file: path, plugins: names}
	c, problems, err := understand(r)
	if err != nil {
		c = nil
	}
	return c, problems, err
}

// Understand is Load for those who only look. When all errors lie in this machine (a source is missing, rsync refuses a
// password file), the Config is there beside the *InvalidError. It is not when others could have written the file.
func Understand(path string) (*Config, []Problem, error) {
	return understand(&report{file: path})
}

func understand(r *report) (*Config, []Problem, error) {
	data, err := readFile(r.file)
	if err != nil {
		return nil, nil, &SyntaxError{Place: Place{File: r.file}, Err: err}
	}
	c, err := parse(r, data)
	if err != nil {
		return nil, r.problems, err
	}
	r.checkFile()
	trusted := !failed(r.problems)
	_, problems, err := finish(c, r)
	if !trusted {
		c = nil
	}
	return c, problems, err
}

// Parse reads a configuration without looking at this machine: neither at source directories, nor at
// password files, nor for rsync. file is named in the problems.
func Parse(file string, data []byte) (*Config, []Problem, error) {
	r := &report{file: file}
	c, err := parse(r, data)
	if err != nil {
		return nil, r.problems, err
	}
	return result(c, r)
}

// Account reads a configuration as Parse does. Its problems also name what stands there and has no effect, so
// that nothing of a confxml.xml is left out in silence.
func Account(file string, data []byte) (*Config, []Problem, error) {
	r := &report{file: file, complete: true}
	c, err := parse(r, data)
	if err != nil {
		return nil, r.problems, err
	}
	return result(c, r)
}

// FromArgs makes the configuration of `sersync sync SRC TARGET...`. What flags say is put into the
// source by edit, before anything is validated.
func FromArgs(source string, targets []string, edit ...func(*Source)) (*Config, []Problem, error) {
	r := &report{}
	s := newSource(Place{}, r.directory(0, "source", source))
	s.Initial = true
	if len(targets) == 0 {
		r.fail(0, "there is no target for", source, "write a directory, rsync://user@host/module, or user@host:/path")
	}
	for _, url := range targets {
		t := settings{Target: newTarget(Place{})}
		t.Params = []string{"-a"}
		r.url(0, url, &t)
		s.Targets = append(s.Targets, t.target(r, 0, redact(url)))
	}
	for _, apply := range edit {
		apply(&s)
	}
	return finish(&Config{Name: syncName(s), Sources: []Source{s}}, r)
}

// syncName tells one `sersync sync` from others, whatever directory each was started in.
func syncName(s Source) string {
	all := s.Path
	for _, t := range s.Targets {
		all += "\x00" + t.URL()
	}
	hash := sha256.Sum256([]byte(all))
	return "sync-" + hex.EncodeToString(hash[:3])
}

func parse(r *report, data []byte) (*Config, error) {
	read := fromYAML
	if isXML(r.file, data) {
		read = fromXML
	}
	c, err := read(r, data)
	if err != nil {
		return nil, err
	}
	c.fill()
	r.checkModel(c)
	return c, nil
}

// finish looks at this machine.
func finish(c *Config, r *report) (*Config, []Problem, error) {
	if c.File == "" {
		c.fill()
		r.checkModel(c)
	}
	r.checkMachine(c)
	return result(c, r)
}

// result lists the problems in the order of the file.
func result(c *Config, r *report) (*Config, []Problem, error) {
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Place.Line - b.Place.Line })
	if failed(r.problems) {
		return nil, r.problems, &InvalidError{File: r.file, Problems: r.problems}
	}
	return c, r.problems, nil
}

// isXML goes by the name, and by the first character that is no blank.
func isXML(file string, data []byte) bool {
	if strings.EqualFold(filepath.Ext(file), ".xml") {
		return true
	}
	data = bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	return bytes.HasPrefix(data, []byte("<"))
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("the configuration is larger than %d MiB", maxFile>>20)
	}
	return data, nil
}

// url reads where a target is.
func (r *report) url(line int, url string, s *settings) {
	if err := parseURL(url, &s.Target); err != nil {
		r.fail(line, "target cannot be used:", redact(url), err.Error())
		s.Kind = 0
	}
}

// redact is a URL without the password that somebody may have put in.
func redact(url string) string {
	at := strings.LastIndexByte(url, '@')
	if at < 0 {
		return url
	}
	start := 0
	if i := strings.Index(url, "://"); i >= 0 && i < at {
		start = i + 3
	}
	if colon := strings.IndexByte(url[start:at], ':'); colon >= 0 {
		return url[:start+colon] + ":***" + url[at:]
	}
	return url
}

// directory makes the path of a source absolute, without slashes at the end.
func (r *report) directory(line int, what, path string) string {
	full, err := filepath.Abs(path)
	switch {
	case path == "":
		r.fail(line, what+" is missing or empty", "", "write the directory to replicate")
		return ""
	case strings.IndexByte(path, 0) >= 0:
		r.fail(line, what+" holds a zero byte:", path, "write the directory to replicate")
		return ""
	case err != nil:
		r.fail(line, what+" cannot be made absolute:", path, err.Error())
	case full == "/":
		r.fail(line, what+" is the whole machine:", path, "name the directories to replicate, each on its own")
	}
	return full
}

// compile refuses an expression that does not compile.
func (r *report) compile(line int, expression string) {
	if err := filter.CheckRegex(expression); err != nil {
		r.fail(line, "expression does not compile:", expression, err.Error())
	}
}

// absolute is the path from the root; as it stands when the working directory is gone.
func absolute(path string) string {
	full, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return full
}

// within is the path of name below the directory dir, symlinks of both resolved.
func within(dir, name string) (change.Path, bool) {
	if dir == "" || name == "" {
		return "", false
	}
	rel, err := filepath.Rel(resolve(dir), resolve(name))
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	if rel == "." {
		return change.Root, true
	}
	return change.Path(rel), true
}

// resolve follows the symlinks of as much of the path as exists.
func resolve(name string) string {
	full, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	rest := ""
	for dir := full; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == "/" {
			return full
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}
