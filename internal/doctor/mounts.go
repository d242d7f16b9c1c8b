package doctor

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// mounts are the file systems that are mounted, in the order in which they were.
type mounts []*mountinfo.Info

func (e *examination) readMounts() (mounts, error) {
	text, err := e.read("self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	all, err := mountinfo.GetMountsFromReader(bytes.NewReader(text), nil)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return all, nil
}

// of is the file system that a path, free of symlinks, is on; nil when it is not known.
func (m mounts) of(path string) *mountinfo.Info {
	var best *mountinfo.Info
	for _, mount := range m {
		// Of two at one place the later one is seen.
		if inside(mount.Mountpoint, path) && (best == nil || len(mount.Mountpoint) >= len(best.Mountpoint)) {
			best = mount
		}
	}
	return best
}

// below are the file systems that are mounted below a directory, those that are seen.
func (m mounts) below(dir string) []*mountinfo.Info {
	var all []*mountinfo.Info
	for _, mount := range m {
		if mount.Mountpoint != dir && inside(dir, mount.Mountpoint) && m.of(mount.Mountpoint) == mount {
			all = append(all, mount)
		}
	}
	return all
}

// at reports whether something is mounted at the very path.
func (m mounts) at(path string) bool {
	return slices.ContainsFunc(m, func(i *mountinfo.Info) bool { return i.Mountpoint == path })
}

// inside reports whether path is dir or below it.
func inside(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// blind are the file systems on which changes may be made by others than this kernel. It tells of none of these.
var blind = []string{"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "gfs2", "ocfs2", "beegfs", "glusterfs", "virtiofs", "vboxsf", "prl_fs", "fuse", "fuseblk"}

// seesAll reports whether every change on a file system of this type is told by the kernel.
func seesAll(fsType string) bool {
	kind, _, _ := strings.Cut(fsType, ".") // fuse.sshfs
	return !slices.Contains(blind, kind)
}

// overNetwork reports whether a file system is on another machine.
func overNetwork(fsType string) bool { return !seesAll(fsType) && fsType != "fuseblk" }

// inMemory reports whether a file system is lost at a reboot.
func inMemory(fsType string) bool { return fsType == "tmpfs" || fsType == "ramfs" }

// fstabLine is one file system that is to be mounted; fstab(5).
type fstabLine struct {
	device, dir, fsType string
	options             []string
}

// auto reports whether it is mounted at boot.
func (f fstabLine) auto() bool {
	return !slices.Contains(f.options, "noauto")
}

func readFstab(name string) ([]fstabLine, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read fstab: %w", err)
	}
	defer file.Close()
	return parseFstab(file)
}

func parseFstab(r io.Reader) ([]fstabLine, error) {
	var all []fstabLine
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || strings.HasPrefix(fields[0], "#") || fields[2] == "swap" || !strings.HasPrefix(fields[1], "/") {
			continue
		}
		line := fstabLine{device: unescape(fields[0]), dir: unescape(fields[1]), fsType: fields[2]}
		if line.dir != "/" {
			line.dir = strings.TrimRight(line.dir, "/")
		}
		if len(fields) > 3 {
			line.options = strings.Split(fields[3], ",")
		}
		all = append(all, line)
	}
	return all, lines.Err()
}

// unescape undoes \040 and its like, by which fstab writes blanks.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
