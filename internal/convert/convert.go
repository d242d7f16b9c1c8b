// Package convert writes our YAML for a confxml.xml of sersync 2.5.4 or a configuration of lsyncd, and says what it
// could not carry over. It is no step of the path of a change.
package convert

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"sersync/internal/config"
)

// Result is what became of a file.
type Result struct {
	// YAML is the configuration, with the notes as comments in front; empty when nothing could be carried over.
	YAML []byte
	// Notes name what was not carried over or means something else, in the order of the file.
	Notes []config.Problem
}

// Convert makes YAML of the text of a file. What it is is told by its content. The directory is
// where relative paths start.
func Convert(file string, data []byte, dir string) (Result, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return Result{}, &config.SyntaxError{Place: config.Place{File: file}, Err: errors.New("there is nothing in it")}
	}
	if isXML(data) {
		return fromXML(file, data, dir)
	}
	return fromLsyncd(file, data, dir)
}

func isXML(data []byte) bool {
	data = bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	return bytes.HasPrefix(data, []byte("<"))
}

// write makes the text of a configuration, and makes sure that it says the same when it is read.
func write(file string, c *config.Config, notes []config.Problem) ([]byte, error) {
	doc, err := document(c)
	if err != nil {
		return nil, err
	}
	body, err := yaml.MarshalWithOptions(doc, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("write YAML for %q: %w", file, err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Made of %s by sersync convert.\n", oneLine(file))
	if len(notes) > 0 {
		out.WriteString("# Not carried over, or of another meaning than before:\n")
	}
	for _, n := range notes {
		fmt.Fprintf(&out, "#   %s\n", oneLine(n.String()))
	}
	out.Write(body)
	return out.Bytes(), verify(file, c, out.Bytes())
}

// verify refuses a text that would not be read as it was meant: YAML is characters, a path is bytes.
func verify(file string, want *config.Config, text []byte) error {
	got, _, err := config.Parse("converted.yaml", text)
	var invalid *config.InvalidError
	switch {
	case errors.As(err, &invalid):
		return fmt.Errorf("write YAML for %q: it would not be valid: %w", file, err)
	case err != nil || !utf8.Valid(text):
		return fmt.Errorf("write YAML for %q: it holds a name that is no UTF-8, which YAML cannot hold; use the file as it is", file)
	}
	if what := Differ(want, got); what != "" {
		return fmt.Errorf("write YAML for %q: %s cannot be written as YAML; use the file as it is", file, what)
	}
	return nil
}

// Differ names the first thing that is not the same in two configurations, beside the lines where it stands; empty for none.
func Differ(a, b *config.Config) string {
	if len(a.Sources) != len(b.Sources) {
		return "the number of sources"
	}
	for i, s := range a.Sources {
		other := b.Sources[i]
		if s.Identity() != other.Identity() || len(s.Targets) != len(other.Targets) {
			return "the source " + strconv.Quote(s.Path)
		}
		if !slices.EqualFunc(s.Hooks, other.Hooks, func(a, b config.Hook) bool { return a.Identity() == b.Identity() }) {
			return "a hook of the source " + strconv.Quote(s.Path)
		}
		for j, t := range s.Targets {
			if t.Identity() != other.Targets[j].Identity() {
				return "the target " + strconv.Quote(t.URL())
			}
		}
	}
	if a.Runs != b.Runs || a.Log != b.Log || a.Metrics != b.Metrics || a.FailLog != b.FailLog {
		return "a setting of the whole file"
	}
	return ""
}

// oneLine keeps a comment from ending before its end.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(s) {
		return strconv.QuoteToGraphic(s)
	}
	return s
}
