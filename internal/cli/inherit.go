package cli

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepInherited keeps the descriptors that this process was given beside the three standard ones (pipes and locks of the
// shell, cron job or supervisor that started it) from the programs that it starts. They would hold them open for
// as long as they live, and an rsync kept ready would look cut off when the other end of such a pipe is closed.
func keepInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // no /proc: nothing is lost but that
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
