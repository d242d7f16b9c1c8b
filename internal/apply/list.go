package apply

import (
	"os"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// OpenDir opens the directory p for reading.
func (t *Tree) OpenDir(p change.Path) (*os.File, error) {
	fd, err := t.openBeneath(p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, t.fail("open directory", p, err)
	}
	return os.NewFile(uintptr(fd), string(p)), nil
}

// Owners reports whether owner and group are set.
func (t *Tree) Owners() bool { return t.o.Owners }

// SetID reports whether setuid, setgid and capabilities of files are kept.
func (t *Tree) SetID() bool { return t.o.SetID }

// FakeSuper is that of the Options.
func (t *Tree) FakeSuper() bool { return t.o.FakeSuper }

// Granularity is what times are multiples of on the file system of the root, in nanoseconds, as far as it was learned.
func (t *Tree) Granularity() int64 {
	g, _ := t.grains.of(t.top.dev)
	return g.step
}

// Reserved reports whether the name of an entry is ours: nobody replicates or removes it.
func Reserved(name string) bool {
	return isTemp(name) || name == filter.PartialName || name == filter.TrashName
}

// Below tells of all that is below a directory, by the path from there on, but for what is Reserved. An error of do ends it and is returned.
func (t *Tree) Below(p change.Path, do func(below change.Path) error) error {
	for todo := []change.Path{change.Root}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		fd, err := t.openBeneath(p.Join(string(at)), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
		if at != change.Root && isAny(err, unix.ENOTDIR, unix.ELOOP) {
			continue // its kind was not told
		}
		if err != nil {
			return t.fail("open directory", p, err)
		}
		err = entries(fd, func(e entry) error {
			if Reserved(e.name) {
				return nil
			}
			below := at.Join(e.name)
			if e.kind == unix.DT_DIR || e.kind == unix.DT_UNKNOWN {
				todo = append(todo, below)
			}
			return do(below)
		})
		unix.Close(fd)
		if err != nil {
			return t.fail("read directory", p, err)
		}
	}
	return nil
}
