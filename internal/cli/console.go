package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

// stamp is how the time stands in front of a line.
const stamp = "15:04:05.000"

// console shows a person at a terminal what happens: one line a batch, one line a log record.
type console struct {
	mu      sync.Mutex
	out     io.Writer
	colours bool
	// names are targets as the person wrote them.
	names map[string]string
	// width is that of the terminal, 0 for none; below is the line of progress that stands below all others.
	width func() int
	below string
}

func newConsole(out io.Writer) *console {
	return &console{out: out, colours: terminal(out), names: map[string]string{}, width: func() int { return columns(out) }}
}

func (c *console) line(at time.Time, colour, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.colours && colour != "" {
		text = colour + text + plain
	}
	fmt.Fprintf(c.out, "%s%s  %s\n%s", c.erase(), at.Format(stamp), text, c.below)
}

// progress replaces the line that stands below all others, on a terminal only. It is cut to the width: one that is
// wrapped could not be erased.
func (c *console) progress(text string) {
	width := c.width()
	c.mu.Lock()
	defer c.mu.Unlock()
	text = cut(text, width-1)
	if width == 0 || text == c.below {
		return
	}
	fmt.Fprint(c.out, c.erase()+text)
	c.below = text
}

// erase takes the line of progress away.
func (c *console) erase() string {
	if c.below == "" {
		return ""
	}
	return "\r\x1b[K"
}

// block says what is watched and where it goes.
func (c *console) block(cfg *config.Config) {
	for _, s := range cfg.Sources {
		c.line(time.Now(), "", "watching "+quote(s.Path))
		for _, t := range s.Targets {
			c.line(time.Now(), "", "  replicating to "+c.name(t.URL()))
		}
	}
}

func (c *console) name(target string) string {
	if name := c.names[target]; name != "" {
		return quote(name)
	}
	return quote(target)
}

// batch shows a batch. That one failed as a whole is a state of the target, which the log says.
func (c *console) batch(b replicate.BatchDone) {
	if b.Err != nil {
		return
	}
	colour, text := eventLine(httpd.EventOf(b), c.name)
	c.line(time.Now(), colour, text)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// log is a log whose records are lines of the console.
func (c *console) log(_ io.Writer, _ config.Log, level slog.Leveler) *slog.Logger {
	return slog.New(consoleLog{console: c, level: level})
}

// consoleLog is the slog.Handler of a console.
type consoleLog struct {
	console *console
	level   slog.Leveler
	attrs   []slog.Attr
}

func (l consoleLog) Enabled(_ context.Context, level slog.Level) bool {
	return level >= l.level.Level()
}

func (l consoleLog) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	put := func(a slog.Attr) bool {
		text := a.Value.String()
		if text == "" {
			return true
		}
		if a.Key == "target" {
			text = l.console.name(text)
		} else {
			text = change.Path(text).String()
		}
		fmt.Fprintf(&b, "  %s=%s", a.Key, text)
		return true
	}
	for _, a := range l.attrs {
		if a.Key != "source" { // there is only one
			put(a)
		}
	}
	r.Attrs(put)
	colour := ""
	switch {
	case r.Level >= slog.LevelError:
		colour = red
	case r.Level >= slog.LevelWarn:
		colour = yellow
	}
	l.console.line(r.Time, colour, b.String())
	return nil
}

func (l consoleLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	l.attrs = append(append([]slog.Attr(nil), l.attrs...), attrs...)
	return l
}

// WithGroup leaves groups out: a person reads the keys as they are.
func (l consoleLog) WithGroup(string) slog.Handler { return l }
