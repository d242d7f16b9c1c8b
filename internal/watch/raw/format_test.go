package raw

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFormatsAreThoseOfInotifywait(t *testing.T) {
	e := Event{Dir: "/d/", Name: "f\xff", Mask: unix.IN_CREATE | unix.IN_ISDIR, Cookie: 255}
	now := time.Date(2026, 11, 21, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct{ format, timeFormat, want string }{
		{"", "", "/d/ CREATE,ISDIR f\xff\n"},
		{"%T %w%f", "%Y-%m-%d:%H:%M", "2026-11-21:03:04 /d/f\xff\n"},
		{"%T", "%s", "1795230245\n"},
		{"%:e|%c|%%|%n|%0|%z|x%", "", "CREATE:ISDIR|ff|%|\n|\x00|%z|x%\n"},
	} {
		f, err := NewFormat(test.format, test.timeFormat)
		if err != nil {
			t.Errorf("%q: %v", test.format, err)
			continue
		}
		if got := string(f.Append(nil, e, now)); got != test.want {
			t.Errorf("%q: %q, want %q", test.format, got, test.want)
		}
	}
	for _, wrong := range [][2]string{{"%T", ""}, {"", "%Y"}, {"%T", "%Q"}} {
		if _, err := NewFormat(wrong[0], wrong[1]); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func TestNamesOfEvents(t *testing.T) {
	for mask, want := range map[uint32]string{
		unix.IN_CLOSE_WRITE:                   "CLOSE_WRITE,CLOSE",
		unix.IN_CLOSE_NOWRITE | unix.IN_ISDIR: "CLOSE_NOWRITE,CLOSE,ISDIR",
		unix.IN_MOVED_TO:                      "MOVED_TO",
		unix.IN_DELETE_SELF:                   "DELETE_SELF",
		unix.IN_OPEN | unix.IN_ISDIR:          "OPEN,ISDIR",
	} {
		if got := names(mask, ","); got != want {
			t.Errorf("%x: %s, want %s", mask, got, want)
		}
	}
	for _, test := range []struct {
		lists []string
		want  uint32
	}{
		{nil, unix.IN_ALL_EVENTS},
		{[]string{"Create,DELETE", "move"}, unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVE},
		{[]string{"close"}, unix.IN_CLOSE},
	} {
		if got, err := Mask(test.lists); err != nil || got != test.want {
			t.Errorf("%q: %x, %v, want %x", test.lists, got, err, test.want)
		}
	}
	for _, wrong := range []string{"bogus", "create,", "isdir", ""} {
		if _, err := Mask([]string{wrong}); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func TestExpressionsAreExtendedPOSIX(t *testing.T) {
	for _, test := range []struct {
		expression, name string
		fold, want       bool
	}{
		{`\.(swp|tmp)$`, "/d/a.swp", false, true},
		{`\.(swp|tmp)$`, "/d/a.SWP", false, false},
		{`\.(swp|tmp)$`, "/d/a.SWP", true, true},
		{`^/d/[[:digit:]]{2}$`, "/d/12", false, true},
		{`^/d/x.y$`, "/d/x\xffy", false, true},
	} {
		re, err := Regex(test.expression, test.fold)
		if err != nil || re.MatchString(test.name) != test.want {
			t.Errorf("%+v: %v", test, err)
		}
	}
	if _, err := Regex("(", false); err == nil {
		t.Error("an open parenthesis was taken")
	}
}
