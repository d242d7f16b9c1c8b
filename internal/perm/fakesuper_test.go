package perm

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The values are of rsync 3.5.0.
func TestFakeIsInTheFormOfRsync(t *testing.T) {
	for value, want := range map[string]Fake{
		"104755 0,0 1234:5678":         {Mode: unix.S_IFREG | 0o4755, UID: 1234, GID: 5678},
		"60644 8,300 0:0":              {Mode: unix.S_IFBLK | 0o644, Rdev: unix.Mkdev(8, 300)},
		"120777 0,0 0:4294967294":      {Mode: unix.S_IFLNK | 0o777, GID: 1<<32 - 2},
		"20660 4095,1048575 65534:100": {Mode: unix.S_IFCHR | 0o660, Rdev: unix.Mkdev(4095, 1048575), UID: 65534, GID: 100},
	} {
		if got, ok := ParseFake(value); !ok || got != want {
			t.Errorf("%q is %+v %v, want %+v", value, got, ok, want)
		}
		if got := want.String(); got != value {
			t.Errorf("%+v is %q, want %q", want, got, value)
		}
	}
	for _, value := range []string{"", "755", "100644 0,0 1", "x 0,0 0:0", "100644 0,0 -1:0", "777777777 0,0 0:0", "100644 0,0 0:0 0"} {
		if got, ok := ParseFake(value); ok {
			t.Errorf("%q is taken for %+v", value, got)
		}
	}
}

// An ACL with an entry for user 99 as rsync 3.5.0 stored it for a file of mode 755.
func TestACLIsInTheFormOfRsync(t *testing.T) {
	const (
		mode   = unix.S_IFREG | 0o755
		here   = "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x06\x00\x63\x00\x00\x00\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x05\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff"
		stored = "\x80\x00\x00\x00\x80\x00\x00\x00\x05\x00\x00\x00\x80\x00\x00\x00c\x00\x00\x00\x06\x00\x00\x80"
	)
	if name, value, ok := FakeXattr(AccessACL, here, mode); !ok || name != "user.rsync.%aacl" || value != stored {
		t.Errorf("stored as %q %q %v", name, value, ok)
	}
	if name, value, ok := RealXattr("user.rsync.%aacl", stored, mode); !ok || name != AccessACL || value != here {
		t.Errorf("read as %q %q %v", name, value, ok)
	}
}

func FuzzStored(f *testing.F) {
	f.Add("user.rsync.%aacl", "\x80\x00\x00\x00\x80\x00\x00\x00\x05\x00\x00\x00\x80\x00\x00\x00c\x00\x00\x00\x06\x00\x00\x80", uint32(0o755))
	f.Add(FakeName, "104755 0,0 1234:5678", uint32(0))
	f.Fuzz(func(t *testing.T, name, value string, mode uint32) {
		if fake, ok := ParseFake(value); ok {
			if again, ok := ParseFake(fake.String()); !ok || again != fake {
				t.Errorf("%q is %+v, and that is %+v", value, fake, again)
			}
		}
		read, here, ok := RealXattr(name, value, mode)
		if !ok || Faked(read) || !strings.HasPrefix(name, "user.") {
			return
		}
		stored, kept, ok := FakeXattr(read, here, mode)
		if !ok {
			t.Fatalf("%q %q is read and not stored", read, here)
		}
		if _, again, ok := RealXattr(stored, kept, mode); !ok || BareXattr(read, again) != BareXattr(read, here) {
			t.Errorf("%q was %q, and is %q", read, here, again)
		}
	})
}
