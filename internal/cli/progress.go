package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

const (
	// progressEvery is how often the line of progress is drawn anew.
	progressEvery = time.Second
	// guessAfter is how long is watched before it is said how long the rest takes.
	guessAfter = 3 * time.Second
)

// progress says how far the targets are from what the source is.
type progress struct {
	name func(target string) string
	// sending is what each target had to get when nothing was added to it any more.
	sending map[string]goal
}

// goal is where the sending of something began.
type goal struct {
	since time.Time
	paths int
	bytes int64
}

// watch draws the progress on the console until ctx ends.
func (p *progress) watch(ctx context.Context, c *console, client *httpd.Client) {
	defer c.progress("")
	again := time.NewTicker(progressEvery)
	defer again.Stop()
	for {
		if status, err := client.Status(ctx); err == nil {
			c.progress(p.text(status, time.Now()))
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// text is the progress in one line; empty when there is nothing to wait for.
func (p *progress) text(s httpd.Status, now time.Time) string {
	var all []string
	for _, source := range s.Sources {
		for _, t := range source.Targets {
			if text := p.target(source, t, now); text != "" {
				all = append(all, text)
			}
		}
	}
	return strings.Join(all, "; ")
}

func (p *progress) target(s replicate.Status, t replicate.TargetStatus, now time.Time) string {
	name := p.name(t.Name)
	if t.Sweep != nil {
		// rsync does not say how far it is, so that there is nothing to reckon with but what it found.
		delete(p.sending, t.Name)
		return fmt.Sprintf("comparing %s for %s: %s so far, %s known", name, seconds(now.Sub(t.Sweep.Since)),
			plural(t.Sweep.Found, "difference"), plural(s.Indexed, "path"))
	}
	// What came a moment ago is on its way.
	if t.Waiting == 0 || t.Lag < progressEvery.Seconds() {
		delete(p.sending, t.Name)
		return ""
	}
	if t.State != "idle" && t.State != "sending" {
		delete(p.sending, t.Name)
		return fmt.Sprintf("%s is %s, lacks %s for %s", name, t.State, plural(t.Waiting, "path"), seconds(time.Duration(t.Lag*float64(time.Second))))
	}
	g, ok := p.sending[t.Name]
	if !ok || t.Waiting > g.paths {
		g = goal{now, t.Waiting, t.WaitingBytes}
		p.sending[t.Name] = g
	}
	text := fmt.Sprintf("sending to %s: %s to go", name, amountLeft(t))
	if done := g.paths - t.Waiting; done > 0 {
		text += fmt.Sprintf(" of %d", g.paths)
	}
	if left := g.left(t, now); left > 0 {
		text += ", about " + seconds(left)
	}
	return text
}

func amountLeft(t replicate.TargetStatus) string {
	text := plural(t.Waiting, "path")
	if t.WaitingBytes > 0 {
		text += " (" + size(t.WaitingBytes) + ")"
	}
	return text
}

// left is how long the rest takes at the speed so far, by paths or by bytes, whichever takes longer; 0 when that
// cannot be said.
func (g goal) left(t replicate.TargetStatus, now time.Time) time.Duration {
	took := now.Sub(g.since)
	paths, bytes := g.paths-t.Waiting, g.bytes-t.WaitingBytes
	if took < guessAfter || paths <= 0 {
		return 0
	}
	left := took.Seconds() * float64(t.Waiting) / float64(paths)
	if bytes > 0 {
		left = max(left, took.Seconds()*float64(t.WaitingBytes)/float64(bytes))
	}
	return time.Duration(left * float64(time.Second))
}

func seconds(d time.Duration) string { return age(max(d, time.Second).Round(time.Second)) }
