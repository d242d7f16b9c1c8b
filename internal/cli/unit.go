package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"sersync/etc/systemd"
	"sersync/internal/config"
)

// unitMark begins the units that are written here: no other is written over or removed.
const unitMark = "# Written by sersync service install, which may write it again."

// unit is a service of systemd.
type unit struct {
	name string
	// program and config are absolute.
	program, config string
	// sharesTmp: something of it is below /tmp; writesSystem: it writes below /usr, /boot or /etc.
	sharesTmp, writesSystem bool
}

var (
	unitName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}$`) })
	// unitProgram has no letter that means something to systemd.
	unitProgram = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^/[A-Za-z0-9/_.+,=-]*$`) })
)

// checkName refuses what is no name of a service.
func checkName(name string) error {
	if !unitName().MatchString(name) || strings.HasSuffix(name, ".service") {
		return fail(exitUsage, fmt.Sprintf("%s is no name of a service", quote(name)), "letters, digits, and _ . : - within; without .service")
	}
	return nil
}

// newUnit is the service that replicates what a configuration says, which it has read.
func newUnit(name, file string) (unit, error) {
	if err := checkName(name); err != nil {
		return unit{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return unit{}, fmt.Errorf("find this program: %w", err)
	}
	full, err := filepath.Abs(file)
	if err != nil {
		return unit{}, fmt.Errorf("find configuration: %w", err)
	}
	u := unit{name: name, program: program, config: full}
	cfg, _, err := config.Load(full)
	if err != nil {
		return unit{}, err
	}
	return u, u.settle(cfg)
}

// settle refuses what a unit cannot say, and finds out what it may not take away from this configuration.
func (u *unit) settle(cfg *config.Config) error {
	if !unitProgram().MatchString(u.program) {
		return fail(exitError, fmt.Sprintf("a unit cannot start %s", quote(u.program)), "put the program where the name is plain, as /usr/local/bin/sersync")
	}
	odd := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`"\`, r) }
	if !utf8.ValidString(u.config) || strings.ContainsFunc(u.config, odd) || strings.TrimSpace(u.config) != u.config {
		return fail(exitError, fmt.Sprintf("a unit cannot name %s", quote(u.config)), "rename it, as /etc/sersync/sersync.yaml")
	}
	reads, writes := []string{u.program, u.config}, []string{cfg.Log.File, cfg.FailLog.Path}
	for _, s := range cfg.Sources {
		reads = append(reads, s.Path)
		for _, t := range s.Targets {
			if t.Kind == config.Local {
				writes = append(writes, t.Path)
			}
		}
	}
	u.sharesTmp = below(append(reads, writes...), "/tmp", "/var/tmp")
	u.writesSystem = below(writes, "/usr", "/boot", "/etc")
	return nil
}

// below reports whether any of the paths is one of the directories or below it.
func below(paths []string, dirs ...string) bool {
	for _, path := range paths {
		for _, dir := range dirs {
			if path == dir || strings.HasPrefix(path, dir+"/") {
				return true
			}
		}
	}
	return false
}

// text is the unit of the packages, but for its first lines and what it names.
func (u unit) text() string {
	_, sections, _ := strings.Cut(systemd.Unit(), "\n\n")
	percent := strings.ReplaceAll(u.config, "%", "%%")
	word := `"` + strings.ReplaceAll(percent, "$", "$$") + `"`
	changes := []string{
		"AssertPathExists=/etc/sersync/sersync.yaml\n", "AssertPathExists=" + percent + "\n",
		"ExecStart=/usr/bin/sersync run --fill /etc/sersync/sersync.yaml\n", "ExecStart=" + u.program + " run --fill " + word + "\n",
	}
	if u.sharesTmp {
		changes = append(changes, "\nPrivateTmp=yes\n", "\nPrivateTmp=no\n")
	}
	if u.writesSystem {
		changes = append(changes, "\nProtectSystem=full\n", "\nProtectSystem=no\n")
	}
	return unitMark + "\n# Change it with: systemctl edit " + u.name + "\n\n" + strings.NewReplacer(changes...).Replace(sections)
}

// units is the directory in which the administrator's units are, of this machine or of an image.
type units struct{ image string }

func (u units) dir() string { return u.path("etc/systemd/system") }

func (u units) path(below string) string { return filepath.Join(cmp.Or(u.image, "/"), below) }

// write writes the unit, unless there is one of that name that was not written here.
func (u units) write(w unit) (again bool, err error) {
	file := w.name + ".service"
	for _, dir := range []string{"usr/lib/systemd/system", "lib/systemd/system"} {
		packaged := u.path(filepath.Join(dir, file))
		if _, err := os.Lstat(packaged); err == nil {
			return false, fail(exitError, fmt.Sprintf("there is already %s, of a package", quote(packaged)),
				"use it, with /etc/sersync/sersync.yaml: systemctl enable --now "+w.name+"; or choose another name with --name")
		}
	}
	if u.image != "" {
		if err := os.MkdirAll(u.dir(), 0o755); err != nil {
			return false, fmt.Errorf("make directory of units: %w", err)
		}
	}
	root, err := os.OpenRoot(u.dir())
	if err != nil {
		return false, fmt.Errorf("open directory of units: %w", err)
	}
	defer root.Close()
	err = ours(root, file)
	again = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	next := "." + file + ".next"
	// What an earlier one left when it was killed.
	if err := root.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("write unit: %w", err)
	}
	f, err := root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return false, fmt.Errorf("write unit: %w", err)
	}
	_, err = f.WriteString(w.text())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, fmt.Errorf("write unit: %w", err)
	}
	if err := root.Rename(next, file); err != nil {
		return false, fmt.Errorf("write unit: %w", err)
	}
	return again, nil
}

// remove removes a unit that was written here; before is called when it is clear that it was.
func (u units) remove(name string, before func() error) error {
	root, err := os.OpenRoot(u.dir())
	if err != nil {
		return fmt.Errorf("open directory of units: %w", err)
	}
	defer root.Close()
	file := name + ".service"
	err = ours(root, file)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(exitError, fmt.Sprintf("there is no %s", quote(filepath.Join(u.dir(), file))), "name it with --name; see: systemctl list-unit-files 'sersync*'")
	}
	if err == nil {
		err = before()
	}
	if err != nil {
		return err
	}
	if err := root.Remove(file); err != nil {
		return fmt.Errorf("remove unit: %w", err)
	}
	return nil
}

// ours returns nil when the file was written here. A link (a unit that is masked is one) was not.
func ours(root *os.Root, file string) error {
	info, err := root.Lstat(file)
	if err != nil {
		return fmt.Errorf("look at unit: %w", err)
	}
	var text []byte
	if info.Mode().IsRegular() {
		if text, err = root.ReadFile(file); err != nil {
			return fmt.Errorf("read unit: %w", err)
		}
	}
	if !strings.HasPrefix(string(text), unitMark+"\n") {
		return fail(exitError, fmt.Sprintf("%s was not written by sersync, and stays as it is", quote(filepath.Join(root.Name(), file))),
			"remove it yourself, or choose another name with --name")
	}
	return nil
}
