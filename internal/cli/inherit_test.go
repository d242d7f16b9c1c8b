package cli

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The daemon runs for long after the shell that started it: what it inherited ends with it alone.
func TestProgramsGetNothingThatWasInherited(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil { // not close-on-exec, as what a shell leaves open
		t.Fatal(err)
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	var st unix.Stat_t
	if err := unix.Fstat(ends[1], &st); err != nil {
		t.Fatal(err)
	}
	pipe := fmt.Sprintf("pipe:[%d]", st.Ino)
	open := func() string {
		out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if !strings.Contains(open(), pipe) {
		t.Fatal("the pipe is not inherited to begin with")
	}
	keepInherited()
	if got := open(); strings.Contains(got, pipe) {
		t.Errorf("a program that was started has %s:\n%s", pipe, got)
	}
}
