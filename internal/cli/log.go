package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"sersync/internal/config"
)

// newLog is the log as the configuration wants it. level says from where on, and may change while it is used.
func newLog(w io.Writer, c config.Log, level slog.Leveler) *slog.Logger {
	if toJournal(w, os.Getenv("JOURNAL_STREAM")) {
		return newJournalLog(w, c, level)
	}
	return slog.New(newHandler(w, c, &slog.HandlerOptions{Level: level}))
}

func newHandler(w io.Writer, c config.Log, options *slog.HandlerOptions) slog.Handler {
	if c.Format == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// toJournal reports whether w is the stream that systemd connected to its journal: stream, the variable
// JOURNAL_STREAM of systemd.exec(5), is its device and inode. It stays in the environment of what is started with
// another standard error.
func toJournal(w io.Writer, stream string) bool {
	file, ok := w.(*os.File)
	if !ok || stream == "" {
		return false
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// newJournalLog is a log for the journal, which has the time already: each line begins with its level as sd-daemon(3)
// wants it.
func newJournalLog(w io.Writer, c config.Log, level slog.Leveler) *slog.Logger {
	lines := &journalLines{w: w}
	return slog.New(journalLog{newHandler(lines, c, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}), lines})
}

// journalLog is a slog.Handler that tells the lines it makes which level they have.
type journalLog struct {
	slog.Handler
	lines *journalLines
}

// journalLines puts the level before each line. A handler of slog writes a record as one line, in one call.
type journalLines struct {
	mu    sync.Mutex
	w     io.Writer
	level slog.Level
}

func (l journalLog) Handle(ctx context.Context, r slog.Record) error {
	l.lines.mu.Lock()
	defer l.lines.mu.Unlock()
	l.lines.level = r.Level
	return l.Handler.Handle(ctx, r)
}

func (l journalLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journalLog{l.Handler.WithAttrs(attrs), l.lines}
}

func (l journalLog) WithGroup(name string) slog.Handler {
	return journalLog{l.Handler.WithGroup(name), l.lines}
}

// Write is called with the lock held.
func (l *journalLines) Write(p []byte) (int, error) {
	// syslog(3): 3 is an error, 4 a warning, 6 an information, 7 is for debugging.
	prefix := "<7>"
	switch {
	case l.level >= slog.LevelError:
		prefix = "<3>"
	case l.level >= slog.LevelWarn:
		prefix = "<4>"
	case l.level >= slog.LevelInfo:
		prefix = "<6>"
	}
	if _, err := l.w.Write(append([]byte(prefix), p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}
