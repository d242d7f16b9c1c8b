package config

import (
	"slices"
	"time"

	"sersync/internal/filter"
	"sersync/internal/hook"
)

// yamlReader makes the model of the tree of our YAML.
type yamlReader struct {
	*report
	config *Config
	// shared are the options that "defaults:" gives to all targets.
	shared settings
	// key is the one that is being read.
	key string
}

// field is a key and what reads its value.
type field struct {
	name string
	read func(*ynode)
}

func fromYAML(r *report, data []byte) (*Config, error) {
	root, err := parseYAML(r.file, data)
	if err != nil {
		return nil, err
	}
	r.noPlugin()
	y := &yamlReader{report: r, config: &Config{File: r.file}}
	y.shared = settings{Target: newTarget(Place{})}
	y.shared.Params = []string{"-a"}
	y.config.FailLog.RetryEvery = defaultRetryEvery
	if !y.is(root, yMap, "the file") {
		return y.config, nil
	}
	var sources *ynode
	y.keys(root, "the file", y.topFields(&sources))
	if sources == nil || y.items(sources, "sources", y.source) == 0 {
		y.fail(root.line, "there is no source", "", `write "sources:" and below it "- path: /DIRECTORY"`)
	}
	return y.config, nil
}

// topFields are the keys of the file itself. Sources are read last: defaults may stand below them.
func (y *yamlReader) topFields(sources **ynode) []field {
	c := y.config
	return []field{
		{"name", y.text(&c.Name)},
		{"runs", y.int(&c.Runs, 0, 1000)},
		{"state_dir", y.path(&c.StateDir)},
		{"socket", y.path(&c.Socket)},
		{"pid_file", y.path(&c.PidFile)},
		{"log", func(n *ynode) { y.keys(n, "log", y.logFields(&c.Log)) }},
		{"fail_log", func(n *ynode) { y.keys(n, "fail_log", y.failLogFields(&c.FailLog)) }},
		{"metrics", func(n *ynode) { y.keys(n, "metrics", y.metricsFields(&c.Metrics)) }},
		{"defaults", func(n *ynode) { y.keys(n, "defaults", y.targetFields(&y.shared)) }},
		{"sources", func(n *ynode) { *sources = n }},
	}
}

// keys reads each key of a mapping, and names those that are unknown.
func (y *yamlReader) keys(n *ynode, what string, fields []field) {
	if !y.is(n, yMap, what) {
		return
	}
	for _, k := range n.keys {
		if f := findField(fields, k.name); f != nil {
			if y.key = k.name; k.value.kind == yNull {
				y.warn(k.line, "key without a value:", k.name, "it is as if it were not there")
			} else {
				f.read(k.value)
			}
			continue
		}
		var names []string
		for _, f := range fields {
			names = append(names, f.name)
		}
		y.fail(k.line, "unknown key", k.name, DidYouMean(k.name, names))
	}
}

func findField(fields []field, name string) *field {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

// items reads each entry of a list and returns how many there are.
func (y *yamlReader) items(n *ynode, what string, read func(*ynode)) int {
	if !y.is(n, yList, what) {
		return -1
	}
	for _, item := range n.list {
		read(item)
	}
	return len(n.list)
}

func (y *yamlReader) is(n *ynode, k ykind, what string) bool {
	if n.kind == k {
		return true
	}
	if n.kind == yScalar {
		what += " is one value:"
	} else {
		what += " is " + n.kind.String()
	}
	y.fail(n.line, what, n.text, "it must be "+k.String())
	return false
}

func (y *yamlReader) logFields(l *Log) []field {
	return []field{
		{"file", y.path(&l.File)},
		{"format", y.oneOf(&l.Format, "text", "json")},
		{"level", y.oneOf(&l.Level, "debug", "info", "warn", "error")},
	}
}

func (y *yamlReader) failLogFields(l *FailLog) []field {
	return []field{
		{"path", y.path(&l.Path)},
		{"retry_every", y.duration(&l.RetryEvery, time.Minute, longest)},
	}
}

func (y *yamlReader) source(n *ynode) {
	s := newSource(y.at(n.line), "")
	var path string
	var targets *ynode
	y.keys(n, "a source", y.sourceFields(&s, &path, &targets))
	if n.kind != yMap {
		return
	}
	s.Path = y.directory(n.line, "path of a source", path)
	read := func(n *ynode) { s.Targets = append(s.Targets, y.target(n, s.OneFileSystem)) }
	switch {
	case targets != nil && y.items(targets, "targets", read) != 0:
	case len(s.Hooks) == 0:
		y.fail(n.line, "no target for the source", path, `write "targets:" and below it "- url: rsync://user@host/module"`)
	case slices.ContainsFunc(s.Hooks, func(h Hook) bool { return h.On != hook.AllTargetsAcked && h.On != "" }):
		y.fail(n.line, "a hook needs a target, and there is none for the source", path, "write targets:, or give all its hooks on: all-targets-acked")
	}
	if s.OneFileSystem {
		s.stayOnFileSystem()
	}
	if s.Verify.Rate > 0 && slices.ContainsFunc(s.Targets, Target.Rsync) {
		y.notice(n.line, "verify: rate binds our own reading only", path, "rsync reads as fast as it can; its bandwidth does not bound what it reads here")
	}
	y.config.Sources = append(y.config.Sources, s)
}

// stayOnFileSystem keeps comparisons from reading what is mounted below the source.
func (s *Source) stayOnFileSystem() {
	for i := range s.Targets {
		if t := &s.Targets[i]; t.Kind != Native && t.Kind != NativeSSH && !slices.Contains(t.Params, "-x") {
			t.Params = append(slices.Clone(t.Params), "-x")
		}
	}
}

// sourceFields are the keys of a source. Its path and targets are for the caller.
func (y *yamlReader) sourceFields(s *Source, path *string, targets **ynode) []field {
	return []field{
		{"path", y.text(path)},
		{"name", y.text(&s.Name)},
		{"initial", y.initial(s)},
		{"delete", y.bool(&s.Delete)},
		{"removal_budget", y.removalBudget(&s.RemovalBudget)},
		{"exclude", y.rules(s, filter.CheckGlob, filter.Glob)},
		{"exclude_regex", y.rules(s, filter.CheckRegex, filter.Regex)},
		{"exclude_hidden", y.hidden(s)},
		{"events", y.events(&s.Events)},
		{"close_wait", y.duration(&s.CloseWait, time.Millisecond, time.Hour)},
		{"quiet_wait", y.duration(&s.QuietWait, time.Millisecond, time.Hour)},
		{"open_max", y.duration(&s.OpenMax, time.Second, 24*time.Hour)},
		{"watch", y.oneOf(&s.Watch, "auto", "fanotify", "inotify", "poll")},
		{"one_file_system", y.bool(&s.OneFileSystem)},
		{"gap_every", y.duration(&s.GapEvery, time.Second, 24*time.Hour)},
		{"sweep", func(n *ynode) { y.keys(n, "sweep", y.sweepFields(&s.Sweep)) }},
		{"verify", func(n *ynode) { y.keys(n, "verify", y.verifyFields(&s.Verify)) }},
		{"hooks", y.hooks(&s.Hooks, false)},
		{"targets", func(n *ynode) { *targets = n }},
	}
}

// removalBudget is "off", or its bounds.
func (y *yamlReader) removalBudget(b *RemovalBudget) func(*ynode) {
	return func(n *ynode) {
		if n.kind == yScalar && n.text == "off" {
			b.Off = true
			return
		}
		if n.kind == yScalar {
			y.fail(n.line, "removal_budget cannot be used:", n.text, `write "off", or below it paths, percent and most`)
			return
		}
		y.keys(n, "removal_budget", y.budgetFields(b))
	}
}

func (y *yamlReader) budgetFields(b *RemovalBudget) []field {
	return []field{
		{"paths", y.int(&b.Paths, 1, 1_000_000_000)},
		{"percent", y.int(&b.Percent, 1, 100)},
		{"most", y.int(&b.Most, 1, 100)},
	}
}

func (y *yamlReader) sweepFields(s *Sweep) []field {
	return []field{
		{"every", y.duration(&s.Every, time.Minute, longest)},
		{"schedule", y.schedule(&s.Schedule)},
		{"exclude", func(n *ynode) {
			y.items(n, "exclude", func(n *ynode) {
				var pattern string
				if y.text(&pattern)(n); pattern != "" {
					s.Exclude = append(s.Exclude, pattern)
				}
			})
		}},
	}
}

func (y *yamlReader) verifyFields(v *Verify) []field {
	return []field{
		{"every", y.duration(&v.Every, time.Minute, longest)},
		{"schedule", y.schedule(&v.Schedule)},
		{"content", y.bool(&v.Content)},
		{"rate", y.parsed(&v.Rate, parseBandwidth)},
	}
}

// events are the inotify switches of 2.5.4: false drops that kind of event.
func (y *yamlReader) events(e *Events) func(*ynode) {
	return func(n *ynode) {
		y.keys(n, "events", y.eventFields(e))
	}
}

func (y *yamlReader) eventFields(e *Events) []field {
	return []field{
		{"create_file", y.not(&e.NoCreateFile)},
		{"create_folder", y.not(&e.NoCreateFolder)},
		{"close_write", y.not(&e.NoCloseWrite)},
		{"move_from", y.not(&e.NoMoveFrom)},
		{"move_to", y.not(&e.NoMoveTo)},
		{"attrib", y.not(&e.NoAttrib)},
		{"modify", y.bool(&e.Modify)},
	}
}

// target reads a target of a source, of which oneFileSystem says whether it stays on its file system.
func (y *yamlReader) target(n *ynode, oneFileSystem bool) Target {
	s := y.shared.clone()
	s.oneFileSystem = oneFileSystem
	url := ""
	fields := append(y.targetFields(&s), field{"url", y.text(&url)}, field{"hooks", y.hooks(&s.Hooks, true)})
	y.keys(n, "a target", fields)
	if s.noArchive {
		if s.Params = s.Params[1:]; len(s.Params) == 0 {
			s.Params = nil // as of a confxml.xml without any
		}
		s.missing(y.at(n.line))
	} else if slices.Contains(s.Params[1:], "-a") {
		s.Params = s.Params[1:] // somebody wrote it once more
	}
	switch {
	case n.kind != yMap:
	case url == "":
		y.fail(n.line, "a target has no url", "", "write url: rsync://user@host/module, user@host:/path or /directory")
	default:
		y.url(n.line, url, &s)
		if s.Kind != 0 {
			return s.target(y.report, n.line, redact(url))
		}
	}
	return s.Target
}

// targetFields are the keys of a target that "defaults:" may hold as well.
func (y *yamlReader) targetFields(s *settings) []field {
	return []field{
		{"password_file", y.path(&s.PasswordFile)},
		{"ca_file", y.path(&s.CAFile)},
		{"cert_file", y.path(&s.CertFile)},
		{"key_file", y.path(&s.KeyFile)},
		{"rsync_options", func(n *ynode) { y.rsyncOptions(n, s) }},
		{"archive", y.not(&s.noArchive)},
		{"timeout", y.wholeSeconds(&s.Timeout)},
		{"connect_timeout", y.wholeSeconds(&s.ConnectTimeout)},
		{"bandwidth", y.parsed(&s.Bandwidth, parseBandwidth)},
		{"ssh_key", y.path(&s.SSHKey)},
		{"ssh_options", func(n *ynode) { y.sshOptions(n, s) }},
		{"warm", y.bool(&s.Warm)},
		{"pace", y.pace(&s.Pace)},
		{"quiet", y.duration(&s.Quiet, 0, time.Hour)},
		{"large", y.parsed(&s.Large, parseLarge)},
		{"dead_after", y.int(&s.DeadAfter, 1, 1000)},
		{"trash", y.days(&s.Trash)},
		{"durability", y.durability(&s.Durable)},
		{"xattrs", y.bool(&s.Xattrs)},
	}
}

// durability is what an ack says.
func (y *yamlReader) durability(durable *bool) func(*ynode) {
	return func(n *ynode) {
		var word string
		y.oneOf(&word, "applied", "durable")(n)
		*durable = word == "durable"
	}
}

// rsyncOptions add to -a. They replace those of "defaults:".
func (y *yamlReader) rsyncOptions(n *ynode, s *settings) {
	var line string
	if y.text(&line)(n); line == "" {
		return
	}
	if parseParams(y.report, n.line, "-a "+line, s, nil); len(s.Params) == 0 {
		s.Params = []string{"-a"} // what is wrong with the line has been said
	}
}

func (y *yamlReader) sshOptions(n *ynode, s *settings) {
	var line string
	y.text(&line)(n)
	words, err := splitWords(line)
	if err == nil {
		err = sshWords(words, s)
	}
	if err != nil {
		y.fail(n.line, "cannot read ssh_options", line, err.Error())
	}
}
