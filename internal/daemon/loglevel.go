package daemon

import (
	"log/slog"
	"strings"
)

// SetLogLevel changes from which level on is logged, and returns from which it was.
func (a api) SetLogLevel(level string) (was string) { return a.d.setLogLevel(level) }

// setLogLevel takes one of the words that a configuration may have.
func (d *Daemon) setLogLevel(level string) (was string) {
	var to slog.Level
	// Who asks has looked whether it is one.
	_ = to.UnmarshalText([]byte(level))
	from := d.logLevel.Level()
	// At the lower one of the two, so that the log says why it falls silent.
	d.logLevel.Set(min(from, to))
	if from != to && d.log != nil {
		d.log.Info("log level changed", "from", word(from), "to", word(to))
	}
	d.logLevel.Set(to)
	return word(from)
}

func word(level slog.Level) string { return strings.ToLower(level.String()) }
