package change

import "golang.org/x/sys/unix"

// Stat is what lstat said of a path, as far as replication cares. The zero Stat is
// that of an absent path.
type Stat struct {
	// Mode holds the type and the permission bits as the kernel has them (S_IFMT and 07777).
	Mode uint32
	UID  uint32
	GID  uint32
	// Links is the number of hard links.
	Links uint32
	// Dev and Ino tell one file from another.
	Dev uint64
	Ino uint64
	// Rdev is the device that a device node stands for.
	Rdev uint64
	Size int64
	// Mtime and Ctime are nanoseconds since 1970.
	Mtime int64
	Ctime int64
}

// StatOf turns the kernel's answer into a Stat.
func StatOf(st *unix.Stat_t) Stat {
	return Stat{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, Links: uint32(st.Nlink),
		Dev: st.Dev, Ino: st.Ino, Rdev: st.Rdev, Size: st.Size,
		Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// Exists reports whether there is anything.
func (s Stat) Exists() bool { return s.Mode != 0 }

// IsDir reports whether the path is a directory.
func (s Stat) IsDir() bool { return s.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsRegular reports whether the path is a regular file.
func (s Stat) IsRegular() bool { return s.Mode&unix.S_IFMT == unix.S_IFREG }

// IsFile reports whether the path is anything but a directory, and so may have several names.
func (s Stat) IsFile() bool { return s.Exists() && !s.IsDir() }

// Natural reports whether the last that happened to a regular file was a write: nobody gave it another mtime since, nor
// another name. No other content of it ever had this mtime.
func (s Stat) Natural() bool { return s.Mtime == s.Ctime }

// SameFile reports whether both are the same inode. A number that went to something of another type is another one.
func (s Stat) SameFile(t Stat) bool {
	return s.Inode() == t.Inode() && s.Mode&unix.S_IFMT == t.Mode&unix.S_IFMT
}

// Renamed reports whether nothing is to be seen between both but what a file's getting or losing a name does.
func (s Stat) Renamed(t Stat) bool {
	s.Links, s.Ctime = t.Links, t.Ctime
	return s == t
}

// Inode tells the file from others.
func (s Stat) Inode() Inode { return Inode{Dev: s.Dev, Ino: s.Ino} }

// Inode tells one file from another, whatever its names are.
type Inode struct{ Dev, Ino uint64 }
