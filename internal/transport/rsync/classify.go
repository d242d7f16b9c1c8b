package rsync

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"sersync/internal/change"
	"sersync/internal/transport"
)

// A classifier finds out from rsync's output which paths of a batch are not as they should be. It
// knows the messages of rsync 3.1 to 3.5 in the C locale.
type classifier struct {
	names   names
	removal bool
	// trashing: what goes is moved to the trash.
	trashing bool
	// exact: a directory that is not empty is left, and that is no failure.
	exact  bool
	failed map[change.Path]transport.Failure
	limits map[change.Path]transport.Failure
	// blocked are the failed paths for which no way could be made.
	blocked map[change.Path]bool
	// faulty are the failed paths for which the target's disk gave an error.
	faulty map[change.Path]bool
	// strange is the first line that was not understood, explained that there was one that was.
	strange   string
	explained bool
	changed   []change.Path
	files     int
	bytes     int64
}

func newClassifier(o *Options, root string, l line, paths []change.Path) *classifier {
	return &classifier{
		names:   newNames([]string{root, o.Dir}, paths, l.removes()),
		removal: l.removes(), exact: l.base() == removeExact, trashing: l&trashing != 0,
		failed: map[change.Path]transport.Failure{}, limits: map[change.Path]transport.Failure{}, blocked: map[change.Path]bool{},
		faulty: map[change.Path]bool{},
	}
}

const notEmpty = "cannot delete non-empty directory: "

// output reads a line of standard output: what was done, and some messages.
func (c *classifier) output(line []byte) {
	if it, ok := parseItem(line); ok {
		if c.names.listed[it.path] {
			c.changed = append(c.changed, it.path)
		}
		if it.sent {
			c.files++
			c.bytes += it.bytes
		}
		return
	}
	switch text := string(line); {
	case strings.HasPrefix(text, notEmpty):
		c.message(text)
	case strings.HasPrefix(text, "skipping non-regular file "):
		for _, p := range c.names.quoted(line) {
			c.limits[p] = transport.Failure{Path: p, Err: errors.New("neither a regular file nor a directory, and the rsync options leave out what it is")}
		}
	}
}

// pattern is compiled when it is first needed: most processes of this program run no rsync.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

var (
	errnoAtEnd  = pattern(`(?s)^(.*?)(?: failed)?: [^":]+ \((\d+)\)$`)
	deleteFile  = pattern(`^rsync: (?:\[\w+\] )?delete_file: (?:unlink|rmdir|make_backup)\((.*)\) failed: `)
	setACL      = pattern(`^rsync: (?:\[\w+\] )?set_acl: sys_acl_set_file\((.*), ACL_TYPE_\w+\): `)
	unverified  = pattern(`^(WARNING|ERROR): (.*) failed verification -- update .*\.$`)
	makeWay     = pattern(`^(?:rsync: (?:\[\w+\] )?)?could not make way for [^:]*: (.*)$`)
	attributes  = pattern(`^rsync: (?:\[\w+\] )?(?:failed to set (?:times|permissions) on|failed to write xattr |ch(?:own|grp)|rsync_xal_set: l?setxattr\()`)
	summary     = pattern(`^rsync (?:error|warning): .*\(code \d+\)`)
	harmless    = pattern(`^(?:file has vanished: "|WARNING: parent dir is absent in the file list: |\*\*\* Skipping any contents from this failed directory|(?:WARNING: .* failed verification -- update .* \(will try again\)\.$))`)
	senderStats = pattern(`^rsync: (?:\[sender\] )?(?:link_stat|readlink_stat|lstat) `)
)

// message reads a line of standard error.
func (c *classifier) message(line string) {
	raw := []byte(line)
	if line == "" || summary().MatchString(line) {
		return
	}
	c.explained = true
	switch {
	case harmless().MatchString(line):
	case inTrash().MatchString(line):
		// When it kept something from going there, rsync says so of that path as well.
	case strings.HasPrefix(line, notEmpty):
		if !c.exact {
			c.fail(line, 0, c.names.of(unescape(raw[len(notEmpty):])))
		}
	case deleteFile().MatchString(line):
		c.fail(line, errnoOf(line), c.names.of(unescape(deleteFile().FindSubmatch(raw)[1])))
	case unverified().MatchString(line):
		c.fail(line, 0, c.names.of(unescape(unverified().FindSubmatch(raw)[2])))
	case makeWay().MatchString(line):
		inTheWay := c.names.of(unescape(makeWay().FindSubmatch(raw)[1]))
		c.fail(line, 0, inTheWay)
		for _, p := range inTheWay {
			c.blocked[p] = true
		}
	case setACL().MatchString(line):
		c.limit(line, c.names.of(unescape(setACL().FindSubmatch(raw)[1])))
	case attributes().MatchString(line) && cannotStore(errnoOf(line)):
		c.limit(line, c.names.stored(raw))
	case senderStats().MatchString(line) && !c.removal && (errnoOf(line) == syscall.ENOTDIR || errnoOf(line) == syscall.ENOENT):
		// It is not there any more, as a file that has vanished.
	case errnoOf(line) != 0:
		c.fail(line, errnoOf(line), c.names.quoted(raw))
	default:
		c.wonder(line)
	}
}

// fail notes that paths failed, and with them what is below them: rsync skips it without a word.
func (c *classifier) fail(line string, errno syscall.Errno, paths []change.Path) {
	if len(paths) == 0 {
		c.wonder(line)
	}
	faulty := diskError(errno) && !strings.HasPrefix(line, fromSender)
	for _, p := range paths {
		for _, q := range append(slices.Clone(c.names.below(p)), p) {
			c.failed[q] = transport.Failure{Path: q, Retry: !lasting(errno), Err: lineError(line, errno)}
			c.faulty[q] = faulty
		}
	}
}

// diskFails reports whether the target's disk gave an error for every path: that is a state of the target.
func (c *classifier) diskFails() bool {
	for _, p := range c.names.sorted {
		if !c.faulty[p] {
			return false
		}
	}
	return len(c.names.sorted) > 0
}

func (c *classifier) limit(line string, paths []change.Path) {
	for _, p := range paths {
		c.limits[p] = transport.Failure{Path: p, Err: lineError(line, errnoOf(line))}
	}
}

func (c *classifier) wonder(line string) {
	if c.strange == "" {
		c.strange = line
	}
}

// report adds what was learned. The caller has found that all lines were understood.
func (c *classifier) report(r *transport.Report) {
	byPath := func(a, b transport.Failure) int { return strings.Compare(string(a.Path), string(b.Path)) }
	for p := range c.blocked {
		f := c.failed[p]
		f.Err = errInTheWay{f.Err}
		c.failed[p] = f
	}
	r.Failed = append(r.Failed, slices.SortedFunc(maps.Values(c.failed), byPath)...)
	for p := range c.failed {
		delete(c.limits, p)
	}
	r.Limits = append(r.Limits, slices.SortedFunc(maps.Values(c.limits), byPath)...)
	r.Changed = append(r.Changed, c.changed...)
	r.Files += c.files
	r.Bytes += c.bytes
}

// errnoOf is the error number at the end of a message; 0 when there is none.
func errnoOf(line string) syscall.Errno {
	m := errnoAtEnd().FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[2])
	if err != nil || n > 4095 {
		return 0
	}
	return syscall.Errno(n)
}

// lineError is a message as an error. It stays as rsync wrote it, with odd bytes escaped.
func lineError(line string, errno syscall.Errno) error {
	line = strings.TrimPrefix(line, "rsync: ")
	if m := errnoAtEnd().FindStringSubmatch(line); m != nil && errno != 0 {
		return fmt.Errorf("%s: %w", m[1], errno)
	}
	return errors.New(line)
}

// lasting reports whether an error stays until somebody does something.
func lasting(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENAMETOOLONG, syscall.EILSEQ, syscall.EINVAL, syscall.EPERM, syscall.EOPNOTSUPP, syscall.EFBIG:
		return true
	}
	return false
}

// cannotStore reports whether an error of setting an attribute is the target's limit.
func cannotStore(errno syscall.Errno) bool {
	switch errno {
	case syscall.EPERM, syscall.EACCES, syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ENOSYS:
		return true
	}
	return false
}

// names finds the paths of a batch that a message is about.
type names struct {
	prefixes []string
	listed   map[change.Path]bool
	sorted   []change.Path
	removal  bool
}

func newNames(prefixes []string, paths []change.Path, removal bool) names {
	n := names{listed: make(map[change.Path]bool, len(paths)), sorted: slices.Sorted(slices.Values(paths)), removal: removal}
	for _, p := range prefixes {
		n.prefixes = append(n.prefixes, strings.Trim(p, "/"))
	}
	for _, p := range paths {
		n.listed[p] = true
	}
	return n
}

// candidates are what the quoted name of a message may be, the one it is about being quoted first. The
// name may hold quotes itself, so every further quote may be its end; all that fit count.
func candidates(line []byte) []string {
	_, name, _ := bytes.Cut(line, []byte{'"'})
	var candidates []string
	for end, c := range name {
		if c == '"' {
			candidates = append(candidates, unescape(name[:end]))
		}
	}
	return candidates
}

// quoted are the paths that a message with a quoted name is about.
func (n names) quoted(line []byte) []change.Path {
	finds := []func(change.Path) []change.Path{n.sameOrTemporary, n.below}
	if n.removal {
		finds = append(finds, n.above)
	}
	return n.first(candidates(line), finds...)
}

// stored are the paths that something of could not be stored of: one that is listed, or a
// directory above it, which went along.
func (n names) stored(line []byte) []change.Path {
	names := candidates(line)
	if found := n.first(names, n.sameOrTemporary); len(found) > 0 {
		return found
	}
	return n.first(names, func(p change.Path) []change.Path {
		if len(n.below(p)) == 0 {
			return nil
		}
		return []change.Path{p}
	})
}

// of are the paths that a name of something to be removed stands for: itself, or what it is below.
func (n names) of(name string) []change.Path {
	return n.first([]string{name}, n.sameOrTemporary, n.above)
}

// first is what the first of the finds finds for any of the candidates.
func (n names) first(candidates []string, finds ...func(change.Path) []change.Path) []change.Path {
	var forms []change.Path
	for _, name := range candidates {
		forms = append(forms, n.forms(name)...)
	}
	for _, find := range finds {
		var found []change.Path
		for _, p := range forms {
			found = append(found, find(p)...)
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// forms are what a name of a message may be as a path: below the root of the source, or of the
// module, or of the target.
func (n names) forms(name string) []change.Path {
	var forms []change.Path
	if p, ok := pathOf(name); ok {
		forms = append(forms, p)
	}
	for _, prefix := range n.prefixes {
		rest, ok := strings.CutPrefix(strings.TrimLeft(name, "/"), prefix)
		switch {
		case !ok, prefix != "" && rest != "" && rest[0] != '/':
			continue
		case prefix == "" && !strings.HasPrefix(name, "/"):
			continue // it is below the root of a module that is the root of its daemon, or is no such name
		}
		if p, ok := pathOf("./" + strings.TrimLeft(rest, "/")); ok {
			forms = append(forms, p)
		}
	}
	return forms
}

func (n names) sameOrTemporary(p change.Path) []change.Path {
	if found := n.same(p); len(found) > 0 {
		return found
	}
	return n.temporary(p)
}

func (n names) same(p change.Path) []change.Path {
	if n.listed[p] {
		return []change.Path{p}
	}
	return nil
}

func (n names) above(p change.Path) []change.Path {
	for p.Parent() != change.Root {
		p = p.Parent()
		if n.listed[p] {
			return []change.Path{p}
		}
	}
	return nil
}

func (n names) below(p change.Path) []change.Path {
	if p == change.Root {
		return slices.DeleteFunc(slices.Clone(n.sorted), func(q change.Path) bool { return q == change.Root })
	}
	// What is below p is together: it begins with p and a slash.
	start, _ := slices.BinarySearch(n.sorted, p+"/")
	end := start
	for end < len(n.sorted) && n.sorted[end].Below(p) {
		end++
	}
	return n.sorted[start:end]
}

// temporary are the paths that rsync's temporary name p is for: ".NAME.XXXXXX" beside it, with
// a long NAME cut short, or something in the directory for partial files.
func (n names) temporary(p change.Path) []change.Path {
	dir, name := p.Parent(), p.Name()
	if dir.Name() == partialDir {
		return n.same(dir.Parent().Join(name))
	}
	if name == partialDir {
		return n.below(dir)
	}
	if len(name) < 9 || name[0] != '.' || name[len(name)-7] != '.' {
		return nil
	}
	name = name[1 : len(name)-7]
	if found := append(n.same(dir.Join(name)), n.same(dir.Join("."+name))...); len(found) > 0 {
		return found
	}
	var found []change.Path
	for _, q := range n.below(dir) {
		if q.Parent() == dir && strings.HasPrefix(strings.TrimPrefix(q.Name(), "."), name) {
			found = append(found, q)
		}
	}
	return found
}
