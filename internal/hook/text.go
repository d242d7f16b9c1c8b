package hook

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"sersync/internal/change"
)

// text is the event in one line for people.
func text(e Event) string {
	var s string
	switch e.On {
	case Acked, AllTargetsAcked:
		s = textOfPaths(e)
	case Failed:
		s = textOfFailures(e)
	case TargetDown:
		s = fmt.Sprintf("target %s is %s%s%s", e.Target, e.State, since(e), reason(e))
	case TargetUp:
		s = fmt.Sprintf("target %s takes changes again%s", e.Target, waiting(e))
	case Behind:
		s = fmt.Sprintf("target %s is behind by %s%s%s", e.Target, short(e.Lag), waiting(e), reason(e))
	case DeletesHeld:
		s = fmt.Sprintf("removals are held (%s): %d%s", e.State, e.Waiting, reason(e))
	}
	s = e.Source + ": " + s
	if e.Test {
		s = "test: " + s
	}
	return oneLine(s)
}

// textOfPaths says what is on which targets. A single path is named.
func textOfPaths(e Event) string {
	on, from := "on "+e.Target, "from "+e.Target
	switch total := len(e.Targets) + len(e.Missing); {
	case e.On == Acked:
	case total == 0:
		return subject(e.Paths, "has changed", "have changed")
	case len(e.Missing) == 0:
		on, from = "on all targets", "from all targets"
	default:
		on = fmt.Sprintf("on %d of %d targets", len(e.Targets), total)
		from = "from " + strings.TrimPrefix(on, "on ")
	}
	var there, gone []Path
	for _, p := range e.Paths {
		if p.What == Removed {
			gone = append(gone, p)
		} else {
			there = append(there, p)
		}
	}
	var said []string
	if len(there) > 0 {
		said = append(said, subject(there, "is ", "are ")+on)
	}
	if len(gone) > 0 {
		said = append(said, subject(gone, "is gone ", "are gone ")+from)
	}
	s := strings.Join(said, ", ")
	if len(e.Missing) > 0 {
		s += ", not yet on " + strings.Join(e.Missing, ", ")
	}
	return s
}

func textOfFailures(e Event) string {
	s := subject(e.Paths, "fails", "fail") + " on " + e.Target
	dead := 0
	for _, p := range e.Paths {
		if p.Dead {
			dead++
		}
	}
	if dead > 0 {
		s += fmt.Sprintf(" (%d dead)", dead)
	}
	if len(e.Paths) > 0 && e.Paths[0].Error != "" {
		s += ": " + e.Paths[0].Error
	}
	return s
}

// subject is "a.html is" for one path and "3 paths are" for more.
func subject(paths []Path, one, many string) string {
	if len(paths) != 1 {
		return fmt.Sprintf("%d paths %s", len(paths), many)
	}
	name := paths[0].Path.String()
	if paths[0].What == Many {
		name = "what is below " + name
	}
	return name + " " + one
}

func since(e Event) string {
	if e.Since.IsZero() {
		return ""
	}
	at, now := e.Since.Local(), e.Time.Local()
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return " since " + at.Format("15:04")
	}
	return " since " + at.Format("2006-01-02 15:04")
}

func reason(e Event) string {
	s := ""
	if e.Error != "" {
		s = ": " + e.Error
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func waiting(e Event) string {
	switch e.Waiting {
	case 0:
		return ""
	case 1:
		return " (1 path)"
	}
	return fmt.Sprintf(" (%d paths)", e.Waiting)
}

// short is a duration without the units that are zero at its end: 12m, 1h5m, 2m5s.
func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	s := d.Round(time.Second).String()
	for _, end := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, end) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// oneLine is s without anything that a terminal or a log would take for more than text.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// absolute is the path as the plugins of 2.5.4 were told it.
func absolute(root string, p change.Path) string {
	root = strings.TrimRight(root, "/")
	if p == change.Root && root != "" {
		return root
	}
	return root + "/" + string(p)
}
