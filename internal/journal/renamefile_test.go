package journal

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sersync/internal/change"
	"sersync/internal/scan"
)

// shelf is a few files of one size and mtime at a source, and what a target has of them. Only their inodes, ctimes and content differ,
// and ctimes not always.
type shelf struct {
	t     *testing.T
	r     *rand.Rand
	j     *Journal
	to    *Target
	there map[change.Path]book // at the source
	has   map[change.Path]int  // content on the target
	tick  int64
	last  int
	moved int
}

type book struct {
	st      change.Stat
	content int
}

func (s *shelf) name() change.Path { return change.Path('a' + rune(s.r.IntN(4))) }

// now is the time; it does not pass always.
func (s *shelf) now() int64 {
	if s.r.IntN(3) > 0 {
		s.tick++
	}
	return s.tick
}

// look records what is at p, as the observer does.
func (s *shelf) look(p change.Path, wrote bool) {
	old, f := s.j.Stat(p), s.there[p]
	finding := scan.Finding{Path: p, Stat: f.st, Mark: true, Since: time.Now()}
	switch {
	case !f.st.Exists():
		finding.Bits = change.WasFile
	case old.Exists() && old != f.st, old == f.st && wrote:
		finding.Bits = change.Content // the mtime is always the old one
	}
	s.j.Record(finding)
}

func (s *shelf) write(p change.Path) {
	s.last++
	f := s.there[p]
	if !f.st.Exists() {
		f.st = change.Stat{Mode: unix.S_IFREG | 0o644, Links: 1, Ino: uint64(s.last), Size: 1, Mtime: -1}
	}
	f.st.Ctime, f.content = s.now(), s.last
	s.there[p] = f
	s.look(p, true)
}

// rename is a batch of one rename or of several.
func (s *shelf) rename() {
	before := maps.Clone(s.there)
	touched := map[change.Path]bool{}
	for range 1 + s.r.IntN(3) {
		p, q := s.name(), s.name()
		f, ok := s.there[p]
		if !ok || p == q {
			continue
		}
		touched[p], touched[q] = true, true
		delete(s.there, p)
		f.st.Ctime = s.now()
		s.there[q] = f
	}
	var files []scan.RenamedFile
	for p, old := range before {
		for q, f := range s.there {
			if touched[p] && touched[q] && p != q && f.st.Ino == old.st.Ino && s.j.Stat(p) == old.st {
				files = append(files, scan.RenamedFile{From: p, To: q, Stat: f.st})
			}
		}
	}
	s.j.RenameFiles(files)
	for p := range touched {
		s.look(p, false)
	}
}

// send moves what is known to be there, and sends a batch: what has the size and mtime of what is there is left as it is, unless its
// content is asked for.
func (s *shelf) send() {
	marks := s.to.Take(1 + s.r.IntN(4))
	hints, taken := s.to.TakeMoved()
	if len(hints) > 0 && s.r.IntN(4) == 0 {
		if s.r.IntN(2) == 0 && s.to.MovedAgain(hints, taken) {
			s.to.PutBack(marks...)
			return
		}
		hints = nil // the target would not
	}
	had := maps.Clone(s.has)
	for _, h := range hints {
		if s.there[h.To].st.Ino == h.File.Ino && had[h.From] != 0 {
			delete(s.has, h.From)
		}
	}
	for _, h := range hints {
		if s.there[h.To].st.Ino == h.File.Ino && had[h.From] != 0 {
			s.has[h.To] = had[h.From]
			s.moved++
		}
	}
	for _, m := range marks {
		switch f, ok := s.there[m.Path]; {
		case s.r.IntN(5) == 0:
			s.to.PutBack(m)
			continue
		case !ok:
			delete(s.has, m.Path)
		case s.has[m.Path] == 0 || m.Bits&(change.Content|change.WasFile) != 0:
			s.has[m.Path] = f.content
		}
		s.to.Ack(m)
	}
}

// P1 for files that are renamed: whatever was written between, on the way and at once, the target has it in the end. Files are moved only
// where nothing but a rename happened to them.
func TestFilesThatAreRenamedArrive(t *testing.T) {
	moved := 0
	for seed := range uint64(2000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &shelf{t: t, r: rand.New(rand.NewPCG(seed, 3)), j: New(0), there: map[change.Path]book{}, has: map[change.Path]int{}}
			s.to = s.j.Open("t")
			for range 60 {
				switch s.r.IntN(5) {
				case 0:
					s.write(s.name())
				case 1, 2:
					s.rename()
				case 3:
					s.send()
				case 4:
					for s.to.Pending() {
						s.send()
					}
				}
			}
			for s.to.Pending() || len(s.to.Moved()) > 0 {
				s.send()
			}
			for p, f := range s.there {
				if s.has[p] != f.content {
					t.Errorf("the target has %d at %s, the source %d", s.has[p], p, f.content)
				}
			}
			if len(s.has) != len(s.there) {
				t.Errorf("the target has %v, the source %v", s.has, s.there)
			}
			moved += s.moved
		})
	}
	if moved < 1000 {
		t.Errorf("%d files were moved: this proves little", moved)
	}
}
