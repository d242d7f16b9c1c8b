package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a configuration file in a directory of its own, with a source that is there.
type machine struct {
	t   *testing.T
	dir string
}

func newMachine(t *testing.T) machine {
	m := machine{t, t.TempDir()}
	if err := os.MkdirAll(m.dir+"/data/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m machine) file(name, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	// Once more: the umask took bits away.
	if err := os.Chmod(filepath.Join(m.dir, name), mode); err != nil {
		m.t.Fatal(err)
	}
}

// load loads a configuration in which DIR is the directory, and returns what was told, with DIR for it again.
func (m machine) load(text string) []string {
	m.t.Helper()
	m.file("conf.yaml", strings.ReplaceAll(text, "DIR", m.dir), 0o600)
	return m.loadFile()
}

func (m machine) loadFile() []string {
	m.t.Helper()
	c, problems, err := Load(m.dir + "/conf.yaml")
	var invalid *InvalidError
	if errors.As(err, &invalid) == (c != nil) || err != nil && invalid == nil {
		m.t.Errorf("config %v, error %v", c, err)
	}
	var told []string
	for _, p := range problems {
		told = append(told, strings.ReplaceAll(p.String(), m.dir, "DIR"))
	}
	return told
}

func withPassword(file string) string {
	return "sources:\n- path: DIR/data\n  targets:\n  - url: rsync://bob@192.0.2.1/m\n    password_file: DIR/" + file + "\n"
}

func TestPasswordFileIsCheckedAsRsyncWould(t *testing.T) {
	m := newMachine(t)
	m.file("good", "hunter2\n", 0o600)
	m.file("group", "hunter2\n", 0o640)
	m.file("open", "hunter2\n", 0o644)
	m.file("empty", "\nhunter2\n", 0o600)
	m.file("secrets", "bob:hunter2\n", 0o600)
	m.file("data/inside", "hunter2\n", 0o600)
	cases := map[string][]string{
		"good": nil, "group": nil,
		"open":        {`DIR/conf.yaml:4: password file can be read or written by everybody, so rsync refuses it: "DIR/open": chmod 600 DIR/open`},
		"empty":       {`DIR/conf.yaml:4: password file is empty in its first line: "DIR/empty": write the password alone into it`},
		"missing":     {`DIR/conf.yaml:4: password file does not exist: "DIR/missing": write the password alone into it, then chmod 600`},
		"data":        {`DIR/conf.yaml:4: password file is no regular file: "DIR/data": write the password alone into a file`},
		"secrets":     {`DIR/conf.yaml:4: warning: password file begins with the user: "DIR/secrets": user:password is the form of the daemon's secrets file; here it holds the password alone`},
		"data/inside": {`DIR/conf.yaml:4: warning: password file lies in the source, so it is sent to every target: "DIR/data/inside": move it out, or exclude it`},
	}
	if os.Geteuid() == 0 {
		m.file("other", "hunter2\n", 0o600)
		if err := os.Chown(m.dir+"/other", 1000, 1000); err != nil {
			t.Fatal(err)
		}
		cases["other"] = []string{`DIR/conf.yaml:4: password file is not owned by root, so rsync refuses it: "DIR/other": chown root DIR/other`}
	}
	for file, want := range cases {
		got := m.load(withPassword(file))
		equal(t, want, got)
		if strings.Contains(strings.Join(got, ""), "hunter2") {
			t.Error("a message holds the password")
		}
	}
}

func TestSourceMustBeADirectoryThatIsThere(t *testing.T) {
	m := newMachine(t)
	m.file("file", "", 0o600)
	equal(t, []string{
		`DIR/conf.yaml:2: source does not exist: "DIR/none": make the directory, or mount what belongs there, or correct the path`,
		`DIR/conf.yaml:4: source is not a directory: "DIR/file": name the directory that it is in, with a filter when the rest is not wanted`,
	}, m.load("sources:\n- path: DIR/none\n  targets: [{url: h:/x}]\n- path: DIR/file\n  targets: [{url: h:/y}]\n"))
}

func TestSourceAndTargetMustLieApart(t *testing.T) {
	m := newMachine(t)
	for name, to := range map[string]string{"link-to-sub": "data/sub", "link-to-all": "."} {
		if err := os.Symlink(to, filepath.Join(m.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]string{
		"DIR/data": "target lies in its source", "DIR/data/new/dir": "target lies in its source", "DIR/link-to-sub/new": "target lies in its source",
		"DIR": "source lies in its target", "DIR/link-to-all": "source lies in its target",
		"DIR/data-copy": "", "DIR/dat": "", "DIR/data/../copy": "",
	}
	for target, want := range cases {
		got := m.load("sources:\n- path: DIR/data\n  targets: [{url: " + target + "}]\n")
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], "DIR/conf.yaml:3: "+want)) {
			t.Errorf("target %s: %q, want %q", target, got, want)
		}
	}
}

func TestConfigurationThatOthersCanWriteIsRefusedAsRoot(t *testing.T) {
	m := newMachine(t)
	m.load("sources:\n- path: DIR/data\n  targets: [{url: h:/x}]\n")
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o644: false, 0o620: true, 0o602: true} {
		if err := os.Chmod(m.dir+"/conf.yaml", mode); err != nil {
			t.Fatal(err)
		}
		var want []string
		if refused && os.Geteuid() == 0 {
			want = []string{"DIR/conf.yaml: others than its owner can write the configuration, and we are root: chmod go-w DIR/conf.yaml"}
		}
		equal(t, want, m.loadFile())
	}
}

func TestMissingProgramSaysHowToInstallIt(t *testing.T) {
	m := newMachine(t)
	m.file("apt-get", "", 0o755)
	t.Setenv("PATH", m.dir)
	equal(t, []string{
		`DIR/conf.yaml: program is not installed: "rsync": install it: apt-get install rsync`,
		`DIR/conf.yaml: program is not installed: "ssh": install it: apt-get install openssh-client`,
	}, m.load("sources:\n- path: DIR/data\n  targets: [{url: h:/x}]\n"))

	only := func(program string) func(string) (string, error) {
		return func(name string) (string, error) {
			if name == program {
				return "/bin/" + name, nil
			}
			return "", os.ErrNotExist
		}
	}
	for program, want := range map[string]string{
		"dnf": "install it: dnf install openssh-clients", "apk": "install it: apk add openssh-client",
		"pacman": "install it: pacman -S openssh", "none": "install it with the package manager of this system",
	} {
		equal(t, want, install("ssh", only(program)))
	}
}

func TestKeyOfSSHIsChecked(t *testing.T) {
	m := newMachine(t)
	m.file("key", "", 0o600)
	m.file("open", "", 0o644)
	text := "sources:\n- path: DIR/data\n  targets:\n  - {url: 'h:/x', ssh_key: DIR/key}\n  - {url: 'h:/y', ssh_key: DIR/open}\n  - {url: 'h:/z', ssh_key: DIR/none}\n"
	equal(t, []string{
		`DIR/conf.yaml:5: key for ssh can be read by others, so ssh refuses it: "DIR/open": chmod 600 DIR/open`,
		`DIR/conf.yaml:6: key for ssh cannot be used: "DIR/none": no such file or directory`,
	}, m.load(text))
}
