package config

import (
	"cmp"
	"slices"
	"strings"
)

// settings are a target while it is read: its own, or those that several share.
type settings struct {
	Target
	// port and sshPort are what the target's Port becomes, by its kind, when its URL has none.
	port, sshPort int
	// rsh says that the options of rsync hold -e.
	rsh bool
	// noArchive leaves out the -a that our YAML begins the options of rsync with.
	noArchive bool
	// oneFileSystem says that the source stays on its file system, as -x asks for.
	oneFileSystem bool
	// paramsLine is where the options of rsync stand.
	paramsLine int
	// ofRsync is what is to be told of the options where rsync carries the data.
	ofRsync []Problem
}

// tell has something told where rsync carries the data.
func (s *settings) tell(severity Severity, at Place, what, value, remedy string) {
	s.ofRsync = append(s.ofRsync, Problem{severity, at, what, value, remedy})
}

// clone is a copy to change.
func (s settings) clone() settings {
	s.Params = slices.Clone(s.Params)
	s.SSHOptions = slices.Clone(s.SSHOptions)
	return s
}

// isBackup reports whether an option of rsync says what becomes of what is overwritten or removed.
func isBackup(param string) bool {
	return param == "-b" || param == "--backup" || strings.HasPrefix(param, "--backup-dir=") || strings.HasPrefix(param, "--suffix=")
}

// target is the target that the settings make, complete and checked. written is what a person wrote for it.
func (s settings) target(r *report, line int, written string) Target {
	t := s.Target
	t.Place = r.at(line)
	if err := checkTarget(&t); err != nil {
		r.fail(line, "target cannot be used:", written, err.Error())
	}
	if t.Port == 0 {
		switch t.Kind {
		case Daemon, Native:
			t.Port = s.port
		case SSH, NativeSSH:
			t.Port = s.sshPort
		}
	}
	if t.Pace == 0 {
		t.Pace = -1
		if t.Rsync() {
			t.Pace = defaultPace
		}
	}
	s.tellOptions(r, t)
	if t.Kind == Native || t.Kind == NativeSSH {
		t.withoutRsync(r, line)
	}
	if t.Kind == Local && !t.Rsync() {
		t.compareXattrs()
	}
	if t.Durable && t.Rsync() {
		r.fail(line, "durability is not to be had with rsync, which does not say what is on the disk:", written, "take sersync://user@host/module, or remove it")
	}
	if t.Xattrs && t.Rsync() {
		r.fail(line, "xattrs is not for rsync:", written, "write rsync_options: -AX")
	}
	if t.Kind == Daemon && s.rsh {
		r.fail(line, "-e among the options of rsync is for targets over ssh, this one is a daemon:", written,
			`switch ssh on (XML: <ssh start="true"/>, YAML: url: user@host:/path), or remove -e`)
	}
	if i := slices.IndexFunc(t.Params, isBackup); t.Trash > 0 && i >= 0 {
		r.fail(line, "trash and an option of rsync exclude each other:", t.Params[i], "remove one of them: a trash is made by --backup-dir as well")
	}
	if first := cmp.Or(t.CAFile, t.CertFile, t.KeyFile); first != "" && t.Kind != Native {
		r.warn(line, "a certificate is for sersync:// only:", first, "it is not used here; ssh and rsync have logins of their own")
		t.CAFile, t.CertFile, t.KeyFile = "", "", ""
	}
	if t.Kind != SSH && t.Kind != NativeSSH {
		t.SSHKey, t.SSHOptions = "", nil
	}
	if t.Kind != Daemon && t.Kind != Native && t.PasswordFile != "" {
		r.warn(line, "a password file is for rsync daemons and sersync:// only:", t.PasswordFile, "it is not used here; ssh logs in with a key")
		t.PasswordFile = ""
	}
	return t
}

// tellOptions says what the options of rsync mean for the target t, once where targets share them.
func (s settings) tellOptions(r *report, t Target) {
	told := s.ofRsync
	if !t.Rsync() {
		told = nil
		dropped := func(option, remedy string) {
			if slices.Contains(t.Params, option) {
				at := r.at(cmp.Or(s.paramsLine, t.Place.Line))
				told = append(told, Problem{Warning, at, "this option of rsync does not hold for a target without rsync:", option, remedy})
			}
		}
		dropped("-u", "a file that is newer there is replaced by that of the source; keep an rsync:// target where that must not be")
		if !s.oneFileSystem {
			dropped("-x", "what is mounted below the source is replicated; write one_file_system: true for the source (YAML) where that must not be")
		}
	}
	for _, p := range told {
		if !slices.Contains(r.problems, p) {
			r.problems = append(r.problems, p)
		}
	}
}

// withoutRsync takes from a target what only rsync has.
func (t *Target) withoutRsync(r *report, line int) {
	// What all 2.5.4 users have says nothing.
	usual := func(p string) bool {
		return slices.Contains([]string{"-a", "-r", "-t", "-u", "-z", "-x", "-X", "-A", "-H"}, p)
	}
	t.compareXattrs()
	if i := slices.IndexFunc(t.Params, func(p string) bool { return !usual(p) }); i >= 0 {
		r.notice(line, "options of rsync are not used by a sersync:// or ssh:// target:", t.Params[i], "names, content, modes, owners and times are always replicated")
	}
	t.Params = nil
}

// compareXattrs has extended attributes compared, which our own code always sends, where options of rsync ask for them.
func (t *Target) compareXattrs() {
	t.Xattrs = t.Xattrs || slices.Contains(t.Params, "-X") || slices.Contains(t.Params, "-A")
}
