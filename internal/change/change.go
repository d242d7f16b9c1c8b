// Package change holds the words that everything else speaks: path, stat, mark.
//
// A change is a mark, not a command: an event never says what to do, it says that
// a path is dirty. What to send is decided by looking at the path when it is sent.
package change

import (
	"strconv"
	"strings"
	"time"
)

// Path names something below the root of a source. It is bytes, not text: separated by
// slashes, without a leading or trailing one, no element empty, "." or "..". The empty
// Path is the root itself.
type Path string

// Root is the path of the root of a source.
const Root Path = ""

// Valid reports whether p has the form that the type promises. What comes from outside
// (a program's output, the command line) is checked with it.
func (p Path) Valid() bool {
	if p == Root {
		return true
	}
	if strings.IndexByte(string(p), 0) >= 0 {
		return false
	}
	for element := range strings.SplitSeq(string(p), "/") {
		if element == "" || element == "." || element == ".." {
			return false
		}
	}
	return true
}

// Parent is the directory that holds p. The parent of the root is the root.
func (p Path) Parent() Path {
	i := strings.LastIndexByte(string(p), '/')
	if i < 0 {
		return Root
	}
	return p[:i]
}

// Name is the last element of p; empty for the root.
func (p Path) Name() string {
	return string(p[strings.LastIndexByte(string(p), '/')+1:])
}

// Join is the path of the entry name in the directory p.
func (p Path) Join(name string) Path {
	if p == Root {
		return Path(name)
	}
	return p + "/" + Path(name)
}

// Below reports whether p lies below the directory dir; a path is not below itself.
func (p Path) Below(dir Path) bool {
	if dir == Root {
		return p != Root
	}
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// String is p as a person may see it: quoted when it holds anything but printable text
// or could be misread, "." for the root.
func (p Path) String() string {
	if p == Root {
		return "."
	}
	q := strconv.Quote(string(p))
	if q[1:len(q)-1] == string(p) && !strings.ContainsRune(string(p), ' ') {
		return string(p)
	}
	return q
}

// Bits are the sticky bits of a mark.
type Bits uint8

const (
	// Tree asks to look at everything below, at the source.
	Tree Bits = 1 << iota
	// Extras says that targets may hold things below that must go. Only this bit ever
	// compares with a target.
	Extras
	// Content says that size and mtime are what they were while inode or ctime are not:
	// only a comparison of the content can tell whether there is something to send.
	Content
	// WasDir and WasFile say what went, where something went: a filter may keep a directory and
	// drop a file of the same name. With both, nobody knows.
	WasDir
	WasFile
	// Entries is Extras for the entries of one directory, and not for what is below those that the source has.
	Entries
	// Live says that something changed at the source, or was found to differ: hooks are told when it is acked. What is only
	// sent once more for safety lacks it.
	Live
	// Gone says that something went. Of what a hook is told only, with WasDir for directories that are there, too, and Tree for
	// all that is below.
	Gone
)

// Was are the bits of something that went.
func Was(dir bool) Bits {
	if dir {
		return WasDir
	}
	return WasFile
}

// Mark says that a path is dirty.
type Mark struct {
	Path Path
	// Seq is the place of the newest change that the mark stands for; given by the journal.
	Seq uint64
	// Since is when the oldest change that the mark stands for was noticed.
	Since time.Time
	Bits  Bits
}

// Merge is the union of two marks of one path: newest sequence number, oldest time, all bits.
func (m Mark) Merge(n Mark) Mark {
	if n.Seq > m.Seq {
		m.Seq = n.Seq
	}
	if n.Since.Before(m.Since) {
		m.Since = n.Since
	}
	m.Bits |= n.Bits
	return m
}
