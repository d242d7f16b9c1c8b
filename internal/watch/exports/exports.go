// Package exports says what the NFS server of this machine exports. Its clients' writes may reach a file whose path the kernel has
// forgotten, and not every way of watching tells of them.
package exports

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sersync/internal/change"
)

// Tables are where exportfs(8) and the kernel keep what is exported. The kernel's own has only what was asked for so far.
func Tables() []string { return []string{"/var/lib/nfs/etab", "/proc/fs/nfsd/exports"} }

// Read returns the directories that are in the tables. A table that is not there is empty.
func Read(tables []string) ([]string, error) {
	var dirs []string
	for _, name := range tables {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read exports: %w", err)
		}
		dirs = append(dirs, parse(text)...)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// parse takes the directories out of a table: one a line, followed by white space and the clients.
func parse(text []byte) (dirs []string) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		dir, _, _ := strings.Cut(strings.ReplaceAll(lines.Text(), "\t", " "), " ")
		if strings.HasPrefix(dir, "/") {
			dirs = append(dirs, unescape(dir))
		}
	}
	return dirs
}

var octal = regexp.MustCompile(`\\[0-7]{3}`)

// unescape turns \040 and the like into what they stand for.
func unescape(s string) string {
	return octal.ReplaceAllStringFunc(s, func(code string) string {
		n, err := strconv.ParseUint(code[1:], 8, 8)
		if err != nil {
			return code
		}
		return string([]byte{byte(n)})
	})
}

// Within are the places of the directories in the tree at top: those below it, and the root of the tree for top itself and what
// is above it. What is elsewhere is left out.
func Within(dirs []string, top string) (paths []change.Path) {
	for _, dir := range dirs {
		rel, below := strings.CutPrefix(dir, strings.TrimSuffix(top, "/")+"/")
		switch p := change.Path(rel); {
		case dir == top, strings.HasPrefix(top, strings.TrimSuffix(dir, "/")+"/"):
			paths = append(paths, change.Root)
		case below && p.Valid():
			paths = append(paths, p)
		}
	}
	return slices.Compact(paths)
}
