package torture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// areas is how many directories the writers change by turns: what nobody is in comes to rest, and must not be sent again then.
const areas = 6

// socketMax is the length of the path of a unix socket, in bytes.
const socketMax = 107

// UsageError says that it cannot begin where and as it was asked to.
type UsageError struct{ Text, Advice string }

func (e *UsageError) Error() string { return e.Text }

// Hint is what a person can do about it.
func (e *UsageError) Hint() string { return e.Advice }

// prepare makes everything; nothing runs yet.
func prepare(o Options) (*torture, error) {
	dir, err := emptyDir(o.Dir)
	if err != nil {
		return nil, err
	}
	if o.Power && os.Geteuid() != 0 {
		return nil, &UsageError{"only root can mount the images whose power is cut", "run it as root, or without --power"}
	}
	kinds, err := kindsOf(o.Target)
	if err != nil {
		return nil, err
	}
	t := &torture{o: o, dir: dir, source: filepath.Join(dir, "source"), harms: newTally()}
	t.oracle = newOracle(t.source)
	t.whole = newWhole(t)
	if err := t.make(kinds); err != nil {
		if t.power != nil {
			err = errors.Join(err, t.power.close())
		}
		return nil, err
	}
	return t, nil
}

// make makes what is needed below the directory.
func (t *torture) make(kinds []string) (err error) {
	for _, name := range []string{"source", "away", "log"} {
		if err := os.Mkdir(t.below(name), 0o755); err != nil {
			return fmt.Errorf("make directory of the torture: %w", err)
		}
	}
	if t.log, err = os.OpenFile(t.below("log/torture.log"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return fmt.Errorf("make log of the torture: %w", err)
	}
	if t.o.Power {
		if t.power, err = newPower(t, kinds[0] != kindLocal); err != nil {
			return err
		}
	}
	for i, kind := range kinds {
		g, err := t.newTarget(i, kind)
		if err != nil {
			return err
		}
		t.targets = append(t.targets, g)
	}
	t.subject, err = newSubject(t)
	return err
}

// targetDir is where a target is. With images it is below where one is mounted, beside what the file system keeps there.
func (t *torture) targetDir(i int) string { return t.below(fmt.Sprintf("target%d/tree", i+1)) }

// emptyDir is the absolute name of a directory that exists and holds nothing.
func emptyDir(name string) (string, error) {
	dir, err := filepath.Abs(name)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", &UsageError{fmt.Sprintf("cannot torture in %q: %v", name, err), "make an empty directory for it"}
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return "", &UsageError{fmt.Sprintf("cannot torture in %q: %v", name, err), "name an empty directory"}
	case len(entries) > 0:
		return "", &UsageError{fmt.Sprintf("%q is not empty", name), "name an empty directory: all that is below it is changed and removed"}
	case len(filepath.Join(dir, "run/torture.sock")) > socketMax:
		return "", &UsageError{fmt.Sprintf("the path %q is too long for a socket below it", dir), "name a directory with a shorter path"}
	case strings.ContainsAny(dir, "\n#%") || strings.TrimSpace(dir) != dir:
		return "", &UsageError{fmt.Sprintf("the path %q holds what the configuration of an rsync daemon cannot name", dir), "name a directory with a plain path"}
	}
	return dir, nil
}

// configuration is what the daemon under test is told. Each variant differs a little, for reloads.
func (t *torture) configuration(variant int) string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put("name: torture")
	put("state_dir: %q", t.stateDir())
	put("log: {file: %q, level: info}", t.below("log/sersync.log"))
	put("metrics: {listen: 127.0.0.1:%d}", t.subject.metrics)
	put("defaults:")
	put("  password_file: %q", t.below("password"))
	put("  timeout: 4s\n  connect_timeout: 6s\n  large: 1MiB")
	put("  pace: %dms", 20+20*(variant%2))
	put("sources:\n  - path: %q", t.source)
	put("    watch: %s", t.subject.watch)
	put("    removal_budget: off\n    gap_every: 5s")
	put("    targets:")
	for _, g := range t.targets {
		put("      - url: %q", g.url())
	}
	return b.String()
}

func (t *torture) stateDir() string { return t.below("state/sersync") }

// quietDirs and quietFiles are what nobody changes: none of it may ever be sent again.
const quietDirs, quietFiles = 20, 20

// fill makes the first tree.
func (t *torture) fill() error {
	rnd := t.random(1)
	var err error
	for d := range quietDirs {
		dir := filepath.Join(t.source, "quiet", fmt.Sprintf("d%d/deep/er", d))
		err = errors.Join(err, os.MkdirAll(dir, 0o755))
		for f := range quietFiles {
			content := make([]byte, rnd.IntN(2000))
			for i := range content {
				content[i] = byte(rnd.Uint32())
			}
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d", f)), content, 0o644))
		}
	}
	for i := range areas {
		err = errors.Join(err, os.Mkdir(t.area(i), 0o755))
	}
	err = errors.Join(err, t.whole.fill())
	if err := errors.Join(err, os.Mkdir(filepath.Join(t.source, "strike"), 0o755)); err != nil {
		return fmt.Errorf("make the first tree: %w", err)
	}
	return nil
}

func (t *torture) area(i int) string { return filepath.Join(t.source, fmt.Sprintf("area%d", i)) }
