package doctor

import (
	"slices"
	"time"

	"sersync/internal/replicate"
)

// daemon is what a running sersync says of itself.
func (e *examination) daemon() Part {
	p := Part{Kind: "daemon"}
	if e.Silent != nil {
		p.add(Problem, "running", "see its log; when it hangs: kill -ABRT the process, and report what it wrote", "a daemon is there and does not answer: %v", e.Silent)
		return p
	}
	if e.Running == nil {
		p.add(Note, "running", "sersync run "+quote(e.File)+" -d", "no sersync runs with this configuration")
		return p
	}
	p.ok("running", "process %d, version %s, since %s", e.Running.PID, e.Running.Version, e.Running.Started.Local().Format(time.DateTime))
	if text := e.Running.ReloadError; text != "" {
		p.add(Problem, "reload", "mend the configuration, then: kill -HUP the process", "the newest configuration was not taken over: %s", text)
	}
	for _, s := range e.Running.Sources {
		if s.Brake != nil {
			p.add(Problem, "brake", "bring the source back; or, when it is as it should be: sersync deletes approve",
				"%s of the source %s held since %s: %s", plural(s.Brake.Held, "removal"), quote(s.Name), s.Brake.Since.Local().Format(time.DateTime), s.Brake.Reason)
		}
		if s.State == "root-gone" {
			p.add(Problem, "root", "bring the directory back, or mount what belongs there", "the directory of the source %s is gone", quote(s.Name))
		}
		for _, t := range s.Targets {
			waiting(&p, t)
		}
	}
	return p
}

// waiting is what keeps a target from having everything.
func waiting(p *Part, t replicate.TargetStatus) {
	switch {
	case t.State == "paused" || t.State == "pausing":
		p.add(Note, "paused", "sersync resume --target "+quote(t.Name), "%s is paused, and %s wait", quote(t.Name), plural(t.Waiting, "path"))
	case !slices.Contains([]string{"idle", "sending"}, t.State):
		text, remedy := "it says no more", "see the target below"
		if t.LastError != nil {
			text = t.LastError.Text
			if t.LastError.Hint != "" {
				remedy = t.LastError.Hint
			}
		}
		p.add(Problem, "target", remedy, "%s is %s since %s, and %s wait: %s", quote(t.Name), t.State, t.Since.Local().Format(time.DateTime), plural(t.Waiting, "path"), text)
	}
	if t.Dead > 0 {
		p.add(Problem, "dead_letters", "end what sersync failed list says, then: sersync failed retry", "%s failed too often on %s", plural(t.Dead, "path"), quote(t.Name))
	}
	for _, limit := range t.Limits {
		p.add(Note, "limits", "", "%s could not store: %s", quote(t.Name), limit)
	}
}
