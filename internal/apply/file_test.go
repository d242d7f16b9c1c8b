package apply

import (
	"bytes"
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
		f, err := r.Create("f", a, false)
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
	create("CopyFrom", func(f *File) {
		old, err := r.OpenOld("f")
		r.must(err)
		defer old.Close()
		r.must(f.CopyFrom(old, 0, 0, size))
	})
	check("CopyFrom")
	r.clean()
}

// Parts of an old version, of one on another file system too, in another order and with new parts between.
func TestADeltaTakesWhatIsThere(t *testing.T) {
	old := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for name, dir := range map[string]string{"same": t.TempDir(), "other": shm(t)} {
		r := newRig(t, all())
		base, err := os.Create(dir + "/base")
		r.must(err)
		defer base.Close()
		_, err = base.Write(old)
		r.must(err)
		want := append(append(bytes.Clone(old[5000:900_000]), "new"...), old[:5000]...)
		f, err := r.Create("f", Attr{Mode: unix.S_IFREG | 0o600, Size: int64(len(want))}, false)
		r.must(err)
		r.must(f.CopyFrom(base, 5000, 0, 895_000))
		_, err = f.WriteAt([]byte("new"), 895_000)
		r.must(err)
		r.must(f.CopyFrom(base, 0, 895_003, 5000))
		_, err = f.Place()
		r.must(err)
		if got, err := os.ReadFile(r.at("f")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: another content, %v", name, err)
		}
		f, err = r.Create("g", fileAttr("x"), false)
		r.must(err)
		if err := f.CopyFrom(base, int64(len(old))-10, 0, 20); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Errorf("%s: more than there is: %v", name, err)
		}
		f.Discard()
		r.lacks("g")
		r.clean()
	}
}

func TestContentThatIsNotAllThereIsNotPlaced(t *testing.T) {
	r := newRig(t, all())
	r.file("f", "old")
	f, err := r.Create("f", fileAttr("content"), false)
	r.must(err)
	_, err = f.Write([]byte("cont"))
	r.must(err)
	if _, err := f.Place(); !errors.Is(err, ErrContent) {
		t.Errorf("placed: %v", err)
	}
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
		f, err := r.Create("d/f", fileAttr("content"), false)
		r.must(err)
		_, err = f.Write([]byte(part))
		r.must(err)
		r.must(f.Keep())
		r.has("d/.sersync-partial/f", part)
		r.lacks("d/f")
	}
	part, err := r.Partial("d/f")
	r.must(err)
	f, err := r.Create("d/f", fileAttr("content"), false)
	r.must(err)
	r.must(f.CopyFrom(part, 0, 0, 5))
	part.Close()
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
