package apply

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHolesStayHoles(t *testing.T) {
	r := newRig(t, all())
	const size = 64 << 20
	a := Attr{Mode: unix.S_IFREG | 0o600, Size: size, Mtime: someTime}
	create := func(p string, fill func(*File)) {
		f, err := r.Create("f", a, Old{})
		r.must(err)
		defer f.Discard()
		fill(f)
		_, err = f.Place()
		r.must(err)
	}
	check := func(what string) {
		t.Helper()
		old, err := r.OpenOld("f")
		r.must(err)
		defer old.Close()
		var st unix.Stat_t
		r.must(unix.Fstat(int(old.Fd()), &st))
		if st.Size != size || st.Blocks*512 > 1<<20 {
			t.Errorf("%s: %d bytes, %d on the disk", what, st.Size, st.Blocks*512)
		}
		b := make([]byte, 4)
		for at, want := range map[int64]string{0: "head", 32 << 20: "midd", 40 << 20: "\x00\x00\x00\x00"} {
			if _, err := old.ReadAt(b, at); err != nil || string(b) != want {
				t.Errorf("%s: %q at %d, %v", what, b, at, err)
			}
		}
	}
	create("Hole", func(f *File) {
		for _, s := range []string{"head", "midd"} {
			_, err := f.Write([]byte(s))
			r.must(err)
			f.Hole(32<<20 - 4)
		}
	})
	check("Hole")
	create("WriteAt", func(f *File) {
		_, err := f.WriteAt([]byte("midd"), 32<<20)
		r.must(err)
		_, err = f.WriteAt([]byte("head"), 0)
		r.must(err)
		f.Hole(size)
	})
	check("WriteAt")
	r.clean()
}

func TestContentThatIsNotAllThereIsNotPlaced(t *testing.T) {
	r := newRig(t, all())
	r.file("f", "old")
	f, err := r.Create("f", fileAttr("content"), Old{})
	r.must(err)
	_, err = f.Write([]byte("cont"))
	r.must(err)
	if _, err := f.Place(); !errors.Is(err, ErrContent) {
		t.Errorf("placed: %v", err)
	}
	r.must(f.Keep())
	f.Discard()
	r.lacks(".sersync-partial")
	r.has("f", "old")
	r.clean()
}

func TestThePartOfALargeFileIsKept(t *testing.T) {
	r := newRig(t, all())
	r.put("d", dirAttr())
	if _, err := r.Partial("d/f"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is one: %v", err)
	}
	for _, part := range []string{"cont", "conte"} {
		f, err := r.Create("d/f", fileAttr("content"), Old{})
		r.must(err)
		_, err = f.Write([]byte(part))
		r.must(err)
		r.must(f.Keep())
		r.has("d/.sersync-partial/f", part)
		r.lacks("d/f")
	}
	part, err := r.Partial("d/f")
	r.must(err)
	f, err := r.Create("d/f", fileAttr("content"), Old{})
	r.must(err)
	kept, err := io.ReadAll(part)
	r.must(err)
	part.Close()
	_, err = f.WriteAt(kept[:5], 0)
	r.must(err)
	_, err = f.WriteAt([]byte("nt"), 5)
	r.must(err)
	_, err = f.Place()
	r.must(err)
	r.has("d/f", "content")
	r.must(r.DropPartial("d/f"))
	r.lacks("d/.sersync-partial")
	r.must(r.DropPartial("d/f"))
	r.clean()
}
