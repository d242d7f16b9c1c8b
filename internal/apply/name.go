package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"sersync/internal/change"
	"sersync/internal/filter"
)

// hashSize is the length of a hash within a temporary name.
const hashSize = 32

// A temporary name is prefix, hash of the name it is for, ".", token of the Tree, "-", counter. Its length does not
// depend on the name, which may have 255 bytes itself.
func (t *Tree) temp(name string) string {
	b := make([]byte, 0, 80)
	b = append(b, filter.TempPrefix...)
	b = append(b, hash(name)...)
	b = append(b, '.')
	b = append(b, t.token...)
	b = append(b, '-')
	return string(strconv.AppendUint(b, t.counter.Add(1), 36))
}

// hash tells a name from others of its directory, also from those that were chosen for having the same one.
func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:hashSize/2])
}

// isTemp reports whether the name of an entry is ours.
func isTemp(name string) bool {
	_, _, ok := parse(name)
	return ok
}

// parse takes a temporary name apart.
func parse(name string) (hash, token string, ok bool) {
	rest, ok := strings.CutPrefix(name, filter.TempPrefix)
	if !ok || len(rest) <= hashSize || rest[hashSize] != '.' {
		return "", "", false
	}
	token, _, ok = strings.Cut(rest[hashSize+1:], "-")
	return rest[:hashSize], token, ok
}

// reserved reports whether a part of the path is a temporary name.
func reserved(p change.Path) bool {
	return strings.HasPrefix(string(p), filter.TempPrefix) || strings.Contains(string(p), "/"+filter.TempPrefix)
}
