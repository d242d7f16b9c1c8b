package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sersync/internal/replicate"
)

// printer shows a status to a person.
type printer struct {
	out     io.Writer
	colours bool
	now     time.Time
}

func newPrinter(out io.Writer) *printer {
	return &printer{out: out, colours: terminal(out), now: time.Now()}
}

func (p *printer) paint(text, colour string) string {
	if !p.colours || colour == "" {
		return text
	}
	return colour + text + plain
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

func (p *printer) instance(i instance) {
	s := i.status
	p.line("%s  process %d, version %s, up for %s", p.paint(quote(i.name()), bold), s.PID, s.Version, age(p.now.Sub(s.Started)))
	if s.ReloadError != "" {
		p.line("%s %s", p.paint("configuration not reloaded:", red), s.ReloadError)
	}
	for _, source := range s.Sources {
		p.line("")
		p.source(source)
	}
}

func (p *printer) source(s replicate.Status) {
	p.line("%s  %s", p.paint("source "+quote(s.Name), bold), p.paint(s.State, colourOf(s.State)))
	if s.Error != "" {
		p.line("  %s %s", p.paint("cannot be watched again yet:", red), s.Error)
	}
	by := ""
	if s.Watcher != "" { // else the source is gone
		by = " by " + s.Watcher
	}
	p.line("  %s%s: %d watched, %s known, %s noticed", quote(s.Path), by, s.Watches, plural(s.Indexed, "path"), plural(int(s.Marks), "change"))
	var parts []string
	for _, part := range s.Parts {
		parts = append(parts, fmt.Sprintf("%s by %s (%s)", part.Path, part.Method, part.Reason))
	}
	if len(parts) > 0 {
		p.line("  not in the best way: %s", cutList(parts))
	}
	if s.Open > 0 {
		p.line("  %s written and not closed yet", plural(s.Open, "file"))
	}
	if s.Overflows > 0 {
		p.line("  %d times the kernel's queue was full; each time the tree was looked at again", s.Overflows)
	}
	if s.Brake != nil {
		p.line("  %s since %s: %s", p.paint(plural(s.Brake.Held, "removal")+" held", red), clock(s.Brake.Since), s.Brake.Reason)
		p.line("    hint: %s", toApprove)
	}
	if s.Journal.Error != "" {
		p.line("  %s %s", p.paint("journal not on disk:", red), s.Journal.Error)
		p.line("    hint: replication goes on; make room in the state directory, or see: sersync doctor")
	}
	var gaps []string
	for _, g := range s.Gaps {
		gaps = append(gaps, fmt.Sprintf("%s since %s: %s", g.Path, clock(g.Since), g.Reason))
	}
	p.list("not watched, looked at every now and then", len(gaps), gaps)
	p.targets(s.Targets)
	for _, t := range s.Targets {
		p.trouble(t)
	}
	p.hooks(s.Hooks)
}

func (p *printer) targets(all []replicate.TargetStatus) {
	rows := [][]string{{"TARGET", "STATE", "LAG", "WAITING", "SENT", "REMOVED", "RUNS"}}
	for _, t := range all {
		lag := "-"
		if t.Oldest != nil {
			lag = age(time.Duration(t.Lag * float64(time.Second)))
		}
		rows = append(rows, []string{
			quote(t.Name), t.State, lag, amount(uint64(t.Waiting), uint64(t.WaitingBytes)),
			amount(t.Files, t.Bytes), fmt.Sprint(t.Removed), fmt.Sprint(t.Runs),
		})
	}
	p.table(rows, func(column int, text string) string {
		if column == 1 {
			return colourOf(text)
		}
		return ""
	})
}

// table aligns rows, of which the first is the heading. colour is that of a field.
func (p *printer) table(rows [][]string, colour func(column int, text string) string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for column, text := range row {
			widths[column] = max(widths[column], utf8.RuneCountInString(text))
		}
	}
	for n, row := range rows {
		var b strings.Builder
		for column, text := range row {
			padded := text + strings.Repeat(" ", widths[column]-utf8.RuneCountInString(text))
			if n == 0 {
				padded = p.paint(padded, bold)
			} else {
				padded = p.paint(padded, colour(column, text))
			}
			b.WriteString("  " + padded)
		}
		p.line("%s", strings.TrimRight(b.String(), " "))
	}
}

// trouble says what a person may have to act on.
func (p *printer) trouble(t replicate.TargetStatus) {
	about := p.paint(quote(t.Name), bold)
	if t.Sweep != nil {
		p.line("  %s is compared since %s, %d differences so far", about, clock(t.Sweep.Since), t.Sweep.Found)
	}
	if t.Verifying != nil {
		p.line("  %s is verified since %s, %s so far", about, clock(t.Verifying.Since), plural(t.Verifying.Found, "difference"))
	}
	if v := t.Verified; v != nil {
		p.line("  %s verified as of %s%s: %s", about, clock(v.AsOf), map[bool]string{true: " by content"}[v.Content], p.repaired(v))
	}
	if e := t.LastError; e != nil && !slices.Contains(calm, t.State) {
		p.line("  %s since %s: %s", about, clock(e.Since), p.paint(e.Text, red))
		if e.Hint != "" {
			p.line("    hint: %s", e.Hint)
		}
		if t.NextTry != nil {
			p.line("    tried %d times, again in %s", e.Count, age(max(0, t.NextTry.Sub(p.now))))
		}
	} else if e != nil {
		p.line("  %s last error, %s: %s", about, clock(e.Last), e.Text)
	}
	if t.Retrying > 0 {
		p.line("  %s: %s tried in vain so far", about, plural(t.Retrying, "path"))
	}
	if t.Held > 0 {
		p.line("  %s: %s held", about, plural(t.Held, "removal"))
	}
	var dead []string
	for _, d := range t.DeadLetters {
		dead = append(dead, fmt.Sprintf("%s since %s, %d tries: %s", d.Path, clock(d.Since), d.Tries, d.Error))
	}
	p.list(quote(t.Name)+": dead letters, tried every hour", t.Dead, dead)
	for _, limit := range t.Limits {
		p.line("  %s cannot store: %s", about, limit)
	}
}

// repaired says what a verification found.
func (p *printer) repaired(v *replicate.VerifiedStatus) string {
	text := plural(v.Differences, "difference")
	switch {
	case v.Differences == 0:
		return p.paint("no differences", green)
	case v.Repaired:
		return p.paint(text+" repaired", yellow)
	}
	return p.paint(text+", not all of them repaired yet", red)
}

// calm are the states of a target in which its last error is over.
var calm = []string{"idle", "sending", "pausing", "paused"}

// listMax is how many of a kind a person is shown; --json has all.
const listMax = 10

// cutList is a list in one line.
func cutList(items []string) string {
	text := strings.Join(items[:min(len(items), listMax)], "; ")
	if more := len(items) - listMax; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

func (p *printer) list(what string, count int, items []string) {
	if count == 0 {
		return
	}
	p.line("  %s: %d", p.paint(what, red), count)
	shown := items[:min(len(items), listMax)]
	for _, item := range shown {
		p.line("    %s", item)
	}
	if more := count - len(shown); more > 0 {
		p.line("    … and %d more", more)
	}
}

// amount is a number of paths, with their bytes when there are any.
func amount(paths, bytes uint64) string {
	if bytes == 0 {
		return fmt.Sprint(paths)
	}
	return fmt.Sprintf("%d (%s)", paths, size(bytes))
}

func colourOf(state string) string {
	switch state {
	case "idle", "watching":
		return green
	case "sending", "scanning", "starting", "pausing", "paused":
		return yellow
	}
	return red
}
