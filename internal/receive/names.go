package receive

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// names are the numbers of the names in a file like /etc/passwd or /etc/group. A line that is not understood has none.
func names(file string) map[string]uint32 {
	all := make(map[string]uint32)
	f, err := os.Open(file)
	if err != nil {
		return all
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20) // a group may have many users
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), ":", 4)
		if len(fields) < 3 {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if _, there := all[fields[0]]; err == nil && !there {
			all[fields[0]] = uint32(id)
		}
	}
	return all
}
