package config

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// checkModel finds what is wrong with a configuration as it stands, without looking at this machine.
func (r *report) checkModel(c *Config) {
	if strings.ContainsAny(c.Name, "/\x00") || strings.HasPrefix(c.Name, ".") {
		r.fail(0, "name cannot be part of a file name:", c.Name, "use letters, digits, - and _")
	}
	names := make(map[string]Place)
	paths := make(map[string]Place)
	for _, s := range c.Sources {
		if s.Path == "" {
			continue
		}
		if first, ok := paths[s.Path]; ok {
			r.add(Error, s.Place, "a source for the second time:", s.Path, "put all its targets into the one at "+first.String())
		} else if first, ok := names[s.Name]; ok {
			r.add(Error, s.Place, "a name of a source for the second time:", s.Name, "it is that of the one at "+first.String())
		}
		paths[s.Path], names[s.Name] = s.Place, s.Place
	}
	r.checkOverlaps(c)
	r.checkHooks(c)
}

// checkOverlaps finds two targets that are the same place, or one in the other: a sweep of one would
// remove what the other brought.
func (r *report) checkOverlaps(c *Config) {
	var seen []owned
	for _, s := range c.Sources {
		for _, t := range s.Targets {
			if t.Kind == 0 || t.Path == "" {
				continue
			}
			this := owned{t, s}
			if i := slices.IndexFunc(seen, func(o owned) bool { return overlap(t, o.Target) }); i >= 0 {
				r.addOverlap(this, seen[i])
			}
			seen = append(seen, this)
		}
	}
}

// owned is a target with its source.
type owned struct {
	Target
	source Source
}

func (r *report) addOverlap(this, first owned) {
	where := "the one at " + first.Place.String()
	if first.Place.Line == 0 {
		where = first.URL()
	}
	switch {
	case first.source.Path == this.source.Path && first.Path == this.Path:
		r.add(Error, this.Place, "a target of the source for the second time:", this.URL(), "remove it, or "+where)
	case this.source.Delete || first.source.Delete:
		r.add(Error, this.Place, "a target that overlaps another one, so that each removes what the other brings:", this.URL(),
			"take another directory or module for it or for "+where+", or switch delete off")
	}
}

// overlap reports whether the two are the same directory or one is in the other. The user does not matter.
func overlap(a, b Target) bool {
	if a.Kind != b.Kind || !strings.EqualFold(a.Host, b.Host) {
		return false
	}
	if (a.Kind == Daemon || a.Kind == Native) && a.Address() != b.Address() || a.Port != b.Port {
		return false
	}
	return a.Path == b.Path || strings.HasPrefix(a.Path, b.Path+"/") || strings.HasPrefix(b.Path, a.Path+"/")
}

// checkMachine finds what this machine lacks for a configuration.
func (r *report) checkMachine(c *Config) {
	programs := make(map[string]bool)
	for _, s := range c.Sources {
		r.checkSource(s)
		r.checkHookFiles(s)
		for _, t := range s.Targets {
			if t.Rsync() {
				programs["rsync"] = true
			}
			switch t.Kind {
			case Local:
				r.checkApart(s, t)
			case SSH, NativeSSH:
				programs["ssh"] = true
				r.checkKey(t)
			case Daemon, Native:
				r.checkPassword(s, t)
				r.checkCertificates(s, t)
			}
		}
	}
	r.checkPluginMachine(c)
	r.checkFailLog(c)
	for _, name := range []string{"rsync", "ssh"} {
		if _, err := exec.LookPath(name); programs[name] && err != nil {
			r.add(Error, Place{File: c.File}, "program is not installed:", name, install(name, exec.LookPath))
		}
	}
}

// checkFailLog finds a fail log that would not be written: somebody else could put something in its place.
func (r *report) checkFailLog(c *Config) {
	if c.FailLog.Path == "" {
		return
	}
	info, err := os.Lstat(c.FailLog.Path)
	switch {
	case err == nil && (!info.Mode().IsRegular() || owner(info) != uint32(os.Geteuid())):
		r.add(Warning, Place{File: c.File}, "fail log is not written, it is no regular file of this user:", c.FailLog.Path, "remove it, or name another file")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		r.add(Warning, Place{File: c.File}, "fail log cannot be written:", c.FailLog.Path, reason(err))
	}
}

// install says how to get a program here.
func install(name string, lookPath func(string) (string, error)) string {
	client := name
	if name == "ssh" {
		name, client = "openssh-clients", "openssh-client"
	}
	for _, command := range []string{
		"apt-get install " + client, "dnf install " + name, "yum install " + name, "zypper install " + name,
		"apk add " + client, "pacman -S " + strings.TrimSuffix(client, "-client"),
	} {
		program, _, _ := strings.Cut(command, " ")
		if _, err := lookPath(program); err == nil {
			return "install it: " + command
		}
	}
	return "install it with the package manager of this system"
}

func (r *report) checkSource(s Source) {
	if s.Path == "" || s.Path == "/" {
		return
	}
	info, err := os.Stat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.add(Error, s.Place, "source does not exist:", s.Path, "make the directory, or mount what belongs there, or correct the path")
	case err != nil:
		r.add(Error, s.Place, "source cannot be looked at:", s.Path, reason(err))
	case !info.IsDir():
		r.add(Error, s.Place, "source is not a directory:", s.Path, "name the directory that it is in, with a filter when the rest is not wanted")
	}
}

// checkApart refuses a target inside its source, which would replicate itself, and a source inside its target,
// which a sweep would remove.
func (r *report) checkApart(s Source, t Target) {
	if s.Path == "" || t.Path == "" {
		return
	}
	if _, inside := within(s.Path, t.Path); inside {
		r.add(Error, t.Place, "target lies in its source:", t.Path, "the source is "+s.Path+"; take a directory outside of it")
	} else if _, inside := within(t.Path, s.Path); inside {
		r.add(Error, t.Place, "source lies in its target:", t.Path, "the source is "+s.Path+"; take a directory that does not hold it")
	}
}

// secret is a file that holds one, and who would not take it for which bits of its mode.
type secret struct {
	what, name, text, reader string
	refused                  fs.FileMode
}

// checkPassword refuses a password file that rsync would refuse, with its rules.
func (r *report) checkPassword(s Source, t Target) {
	if r.checkSecret(s, t.Place, secret{"password file", t.PasswordFile, "the password", "rsync", 0o006}) {
		r.checkPasswordText(t)
	}
}

// checkSecret refuses a file that cannot be used, and reports whether there is one to look into.
func (r *report) checkSecret(s Source, place Place, file secret) bool {
	name, write := file.name, "write "+file.text+" alone into "
	if name == "" {
		return false
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.add(Error, place, file.what+" does not exist:", name, write+"it, then chmod 600")
		return false
	case err != nil:
		r.add(Error, place, file.what+" cannot be looked at:", name, reason(err))
		return false
	case !info.Mode().IsRegular():
		r.add(Error, place, file.what+" is no regular file:", name, write+"a file")
		return false
	case info.Mode().Perm()&file.refused != 0:
		who := "everybody"
		if file.refused&0o060 != 0 {
			who = "others"
		}
		r.add(Error, place, file.what+" can be read or written by "+who+", so "+file.reader+" refuses it:", name, "chmod 600 "+name)
	case os.Geteuid() == 0 && owner(info) != 0:
		r.add(Error, place, file.what+" is not owned by root, so "+file.reader+" refuses it:", name, "chown root "+name)
	}
	if _, inside := within(s.Path, name); inside {
		r.add(Warning, place, file.what+" lies in the source, so it is sent to every target:", name, "move it out, or exclude it")
	}
	return true
}

// checkPasswordText looks at what is in a password file, and says nothing of it.
func (r *report) checkPasswordText(t Target) {
	f, err := os.Open(t.PasswordFile)
	if err != nil {
		r.add(Error, t.Place, "password file cannot be read:", t.PasswordFile, reason(err))
		return
	}
	defer f.Close()
	buffer := make([]byte, 1024)
	n, _ := f.Read(buffer)
	line, _, _ := strings.Cut(string(buffer[:n]), "\n")
	if strings.TrimSpace(line) == "" {
		r.add(Error, t.Place, "password file is empty in its first line:", t.PasswordFile, "write the password alone into it")
	} else if t.User != "" && strings.HasPrefix(line, t.User+":") {
		r.add(Warning, t.Place, "password file begins with the user:", t.PasswordFile,
			"user:password is the form of the daemon's secrets file; here it holds the password alone")
	}
}

// checkKey refuses a key that ssh would not take.
func (r *report) checkKey(t Target) {
	if t.SSHKey == "" || strings.HasPrefix(t.SSHKey, "~") {
		return
	}
	info, err := os.Stat(t.SSHKey)
	switch {
	case err != nil:
		r.add(Error, t.Place, "key for ssh cannot be used:", t.SSHKey, reason(err))
	case info.Mode().Perm()&0o077 != 0 && owner(info) == uint32(os.Geteuid()):
		r.add(Error, t.Place, "key for ssh can be read by others, so ssh refuses it:", t.SSHKey, "chmod 600 "+t.SSHKey)
	}
}

// checkFile refuses a configuration by which somebody else could make root do what he likes.
func (r *report) checkFile() {
	info, err := os.Stat(r.file)
	if err != nil || os.Geteuid() != 0 {
		return
	}
	if info.Mode().Perm()&0o022 != 0 {
		r.add(Error, Place{File: r.file}, "others than its owner can write the configuration, and we are root", "", "chmod go-w "+r.file)
	}
}

func owner(info fs.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

// reason is the error of a system call without the path, which the problem names already.
func reason(err error) string {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}
