package config

import (
	"slices"
	"time"

	"sersync/internal/filter"
)

// xmlReader makes the model of the tree of a confxml.xml.
type xmlReader struct {
	*report
	config *Config
}

// fromXML reads a confxml.xml. An element or attribute that is missing has the value of the
// shipped file; but a source and a target must be named.
func fromXML(r *report, data []byte) (*Config, error) {
	head, err := parseXML(r.file, data)
	if err != nil {
		return nil, err
	}
	checkShape(r, head, headShape())
	x := &xmlReader{report: r, config: &Config{File: r.file}}
	sersync := head.child("sersync")
	if x.on(head.child("debug"), "start", false) {
		x.config.Log.Level = "debug"
	}
	x.on(head.child("fileSystem"), "xfs", false)
	x.metrics(head.child("metrics"))
	common := newSource(Place{}, "")
	x.inotify(head.child("inotify"), &common)
	x.filter(head.child("filter"), &common)
	crontab := x.crontab(sersync.child("crontab"), &common)
	if crontab && len(common.Rules) > 1 && len(common.Sweep.Exclude) == 0 {
		x.notice(sersync.child("crontab").line, "<crontab> works together with <filter>", "", "2.5.4 switched crontab off without a <crontabfilter>")
	}
	x.failLog(sersync.child("failLog"))
	x.localpaths(head, sersync, common)
	x.plugins(head, sersync.child("plugin"))
	x.withoutEffect(head)
	return x.config, nil
}

// on reads a switch. Only "true" is on; 2.5.4 took every other spelling for off without a word.
func (x *xmlReader) on(e *element, attr string, shipped bool) bool {
	value, ok := e.get(attr)
	switch {
	case !ok:
		return shipped
	case value == "true":
		return true
	case value != "false":
		x.warn(e.line, attr+" of <"+e.name+"> is off, as it is neither true nor false:", value, `only "true" switches on`)
	}
	return false
}

// text reads an attribute with the shipped value in place of a missing one.
func text(e *element, attr, shipped string) string {
	if value, ok := e.get(attr); ok {
		return value
	}
	return shipped
}

func (x *xmlReader) inotify(e *element, s *Source) {
	shipped := map[string]bool{"createFile": false, "attrib": false, "modify": false}
	on := func(name string) bool {
		value, ok := shipped[name]
		return x.on(e.child(name), "start", value || !ok)
	}
	must := func(name string) bool {
		is := on(name)
		if !is {
			x.warn(e.child(name).at(), "events are dropped, as the switch is off:", name, "what they tell of does not arrive before the next start or sweep")
		}
		return is
	}
	strict := x.on(e, "strict", false)
	s.Delete = on("delete")
	x.budget(e.child("delete"), &s.RemovalBudget)
	s.Events = Events{
		NoCreateFolder: !must("createFolder"), NoCloseWrite: !must("closeWrite"),
		NoMoveFrom: !must("moveFrom"), NoMoveTo: !must("moveTo"),
		Modify: on("modify"),
	}
	noCreateFile, noAttrib := !on("createFile"), !on("attrib")
	if strict {
		s.Events.NoCreateFile, s.Events.NoAttrib = noCreateFile, noAttrib
		return
	}
	if noCreateFile {
		x.notice(e.at(), `createFile is off, and symlinks, hard links and pipes are replicated all the same`, "", `<inotify strict="true"> brings the old behaviour back`)
	}
	if noAttrib {
		x.notice(e.at(), `attrib is off, and changes of mode, owner and time are replicated all the same`, "", `<inotify strict="true"> brings the old behaviour back`)
	}
}

// budget reads the removal budget, an attribute that is ours: on with its defaults, or off.
func (x *xmlReader) budget(e *element, b *RemovalBudget) {
	switch value := text(e, "budget", "on"); value {
	case "on":
	case "off":
		b.Off = true
	default:
		x.fail(e.line, "budget of <delete> cannot be used:", value, `write "on" or "off"; the YAML has bounds`)
	}
}

func (x *xmlReader) filter(e *element, s *Source) {
	if !x.on(e, "hidden", false) {
		s.Rules = append(s.Rules, filter.Hidden(x.at(e.at()).String()))
	}
	if !x.on(e, "start", false) {
		return
	}
	for _, c := range e.all("exclude") {
		expression, ok := c.get("expression")
		if !ok {
			x.fail(c.line, "<exclude> has no expression", "", `write expression="..."`)
			continue
		}
		x.compile(c.line, expression)
		s.Rules = append(s.Rules, filter.Regex(x.at(c.line).String(), expression))
	}
	x.notice(e.line, "<filter> holds for -r, for sweeps and for moved-in directories as well", "", "2.5.4 skipped -r then; a filtered name is never sent nor removed")
}

// crontab reports whether it is on.
func (x *xmlReader) crontab(e *element, s *Source) bool {
	if !x.on(e, "start", false) {
		return false
	}
	s.Sweep.Every = x.minutes(e, "schedule", defaultSchedule, defaultSchedule, defaultSchedule)
	excludes := e.child("crontabfilter")
	if !x.on(excludes, "start", false) {
		return true
	}
	for _, c := range excludes.all("exclude") {
		pattern, _ := c.get("expression")
		if pattern == "" {
			x.fail(c.line, "<exclude> has no expression", "", `write expression="PATTERN", a pattern of rsync`)
			continue
		}
		s.Sweep.Exclude = append(s.Sweep.Exclude, pattern)
	}
	return true
}

func (x *xmlReader) failLog(e *element) {
	x.config.FailLog = FailLog{
		Path:       text(e, "path", defaultFailLog),
		RetryEvery: x.minutes(e, "timeToExecute", defaultRetryEvery, 2*defaultRetryEvery, time.Minute),
	}
	if e != nil && x.config.FailLog.Path != "" {
		x.notice(e.line, "<failLog> is for a person to read and to run; sersync does not run it", "", "what failed is tried again without it")
	}
}

func (x *xmlReader) localpaths(head, sersync *element, common Source) {
	paths := sersync.all("localpath")
	if len(paths) == 0 {
		x.fail(head.line, "there is no <localpath>", "", `write <localpath watch="/DIRECTORY"> in <sersync>`)
	}
	if len(paths) > 1 {
		x.notice(paths[1].line, "every <localpath> is replicated", "", "2.5.4 took the first one only")
	}
	base := x.rsync(sersync.child("rsync"), &common)
	for _, e := range paths {
		s := common
		s.Place = x.at(e.line)
		s.Rules = slices.Clip(s.Rules)
		watch, _ := e.get("watch")
		s.Path = x.directory(e.line, "watch of <localpath>", watch)
		remotes := e.all("remote")
		if len(remotes) == 0 {
			x.fail(e.line, "no <remote> in the <localpath>", watch, `write <remote ip="HOST" name="MODULE"/>`)
		}
		for _, r := range remotes {
			s.Targets = append(s.Targets, x.remote(r, base))
		}
		x.config.Sources = append(x.config.Sources, s)
	}
}

// minutes reads whole minutes. What is empty or no number above 0 had a meaning of its own in 2.5.4.
func (x *xmlReader) minutes(e *element, attr string, shipped, empty, bad time.Duration) time.Duration {
	value, ok := e.get(attr)
	switch {
	case !ok:
		return shipped
	case value == "":
		return empty
	}
	n, err := parseInt(value, 1, 60*24*366)
	if err != nil {
		x.warn(e.line, attr+" of <"+e.name+"> is no number of minutes:", value, "as in 2.5.4, "+shortDuration(bad)+" is taken")
		return bad
	}
	return time.Duration(n) * time.Minute
}
