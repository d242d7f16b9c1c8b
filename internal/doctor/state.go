package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// pathCost is what the journal needs for a path of a tree, in bytes on disk.
const pathCost = 150

// state looks at the directory for what must survive an instance.
func (e *examination) state() Part {
	dir := e.Config.StateDir
	p := Part{Kind: "state", Name: dir}
	info, err := os.Lstat(dir)
	there := dir
	switch {
	case errors.Is(err, fs.ErrNotExist):
		there = existing(dir)
		if err := unix.Faccessat(unix.AT_FDCWD, there, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			p.add(Problem, "directory", "let this user write in "+quote(there)+", or name another directory: state_dir",
				"%s is not there, and cannot be made in %s: %v", quote(dir), quote(there), err)
			return p
		}
		p.ok("directory", "%s is not there yet, and can be made", quote(dir))
	case err != nil:
		p.add(Problem, "directory", "run as the user that sersync runs as, or name another directory: state_dir", "%v", err)
		return p
	default:
		if !stateDirectory(&p, dir, info) {
			return p
		}
	}
	e.replicated(&p, dir)
	real, err := filepath.EvalSymlinks(there)
	if err == nil {
		e.stateDisk(&p, real)
	}
	return p
}

// existing is the next directory above that is there.
func existing(dir string) string {
	for dir != "/" {
		dir = filepath.Dir(dir)
		if _, err := os.Stat(dir); err == nil {
			break
		}
	}
	return dir
}

// stateDirectory looks at a directory that is there. It reports whether it is one.
func stateDirectory(p *Part, dir string, info fs.FileInfo) bool {
	st := info.Sys().(*syscall.Stat_t)
	mode := info.Mode().Perm()
	switch {
	case !info.IsDir():
		p.add(Problem, "directory", "remove it, or name another directory: state_dir", "%s is no directory", quote(dir))
		return false
	case int(st.Uid) != os.Geteuid():
		p.add(Problem, "directory", fmt.Sprintf("chown %d %s, or run as its owner", os.Geteuid(), quote(dir)), "%s belongs to the user %d, not to this one", quote(dir), st.Uid)
	case mode&0o022 != 0:
		p.add(Problem, "directory", "chmod 700 "+quote(dir), "%s has the mode %04o: others can put files of theirs into it", quote(dir), mode)
	case mode != 0o700:
		p.add(Warning, "directory", "chmod 700 "+quote(dir), "%s has the mode %04o: others can see the names of files, or its owner cannot write", quote(dir), mode)
	default:
		p.ok("directory", "%s is there, with the mode 0700", quote(dir))
	}
	return true
}

// replicated finds a source that would send the state directory to its targets.
func (e *examination) replicated(p *Part, dir string) {
	for _, s := range e.Config.Sources {
		path, inside := s.Locate(dir)
		if !inside {
			continue
		}
		rules, err := filter.New(e.Config.RulesFor(s)...)
		if err != nil {
			continue // the source's part says it
		}
		if v := rules.Verdict(path, filter.Dir); path == change.Root || v.Keep {
			p.add(Problem, "place", "name a directory outside of it: state_dir", "the state directory is the source %s, and would be replicated: each note of a change would be a change", quote(s.Name))
		} else {
			p.add(Note, "place", "", "it lies in the source %s and is left out there by a rule of its own", quote(s.Name))
		}
	}
}

// stateDisk looks at the file system of the directory, or of where it would be made.
func (e *examination) stateDisk(p *Part, real string) {
	if mount := e.mounts.of(real); mount != nil {
		const remedy = "name a directory on a local disk: state_dir"
		switch {
		case inMemory(mount.FSType):
			p.add(Warning, "file_system", remedy, "it is on %s: all of it is lost at a reboot", mount.FSType)
		case overNetwork(mount.FSType):
			p.add(Warning, "file_system", remedy, "it is on %s: when the network is gone, so is the journal", mount.FSType)
		default:
			p.ok("file_system", "it is on %s", mount.FSType)
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(real, &st); err != nil {
		p.add(Warning, "space", "see whether its file system is well", "free space of %s is not known: %v", quote(real), err)
		return
	}
	space(p, need{paths: e.need.paths}, st.Bavail*uint64(st.Bsize), st.Files, st.Ffree)
}

// inodesWant is how many files a journal has at the most, with those that take their place.
const inodesWant = 100

// space compares what is free with what the journal may need.
func space(p *Part, n need, free, inodes, inodesFree uint64) {
	want := uint64(n.paths) * pathCost
	const remedy = "make room, or name a directory on another disk: state_dir"
	say := fmt.Sprintf("%s free; the journal may need about %s for %s", size(free), size(want), plural(n.paths, "path"))
	switch {
	case free < want || free < 1<<20:
		p.add(Problem, "space", remedy, "%s", say)
	case free < 3*want:
		p.add(Warning, "space", remedy, "%s, and more for a target that is away", say)
	default:
		p.ok("space", "%s", say)
	}
	// Some file systems, as btrfs, make inodes as they need them, and say 0.
	if inodes > 0 && inodesFree < inodesWant {
		p.add(Problem, "inodes", remedy, "only %d inodes are free", inodesFree)
	}
}

// size is a number of bytes for a person.
func size(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
