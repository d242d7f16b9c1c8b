package rsync

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"sersync/internal/filter"
)

// line is one of the few forms of an rsync command.
type line uint16

const (
	// update: --ignore-missing-args, so that it can never remove what is listed. --force lets
	// a file take the place of a directory.
	update line = iota
	updateContent
	updateLarge
	updateLargeContent
	// rootOnly sends the attributes of the root and nothing else. A listed "./" would send its children.
	rootOnly
	// remove and removeExact differ by --force, which removes a directory with all that is in it.
	remove
	removeExact
	sweep
	sweepExtras
	// sweepEntries compares the entries of the listed directories, which end in a slash, and no more.
	sweepEntries
	sweepEntriesExtras
	// probe and probeRemovals log in and transfer nothing.
	probe
	probeRemovals
	// probeOwners asks what the target would do to give its root another owner.
	probeOwners
	// trashList reads what the target's trash holds, trashFetch brings it here.
	trashList
	trashFetch
	// move links what a directory of the target has to another one; moveTry says what it would send.
	move
	moveTry
)

// keeping is added to the lines of updates: without --force, what is in the way on the target stays
// when it is a directory that is not empty.
const keeping line = 1 << 7

// trashing is added to the lines of removals and updates: what goes, and what an update replaces, is moved to the trash.
const trashing line = 1 << 6

// bare is added to the lines of updates: the directories above what is listed do not go along. One that is missing is made; in whose place something
// else is, that stays, and what is below fails.
const bare line = 1 << 8

// hashing is added to the lines of comparisons: what is equal in size and mtime is compared by content.
const hashing line = 1 << 5

// base is a line without what was added to it.
func (l line) base() line { return l &^ (keeping | trashing | hashing | bare) }

// removes reports whether a line removes what is listed.
func (l line) removes() bool { return l.base() == remove || l.base() == removeExact }

// streams reports whether what rsync says is wanted while it runs: progress, and what a comparison finds.
func (l line) streams() bool {
	return l.large() || l.sweeps() || l == trashList
}

// large reports whether the line is one of the lane of large files.
func (l line) large() bool { return l.base() == updateLarge || l.base() == updateLargeContent }

func (l line) sweeps() bool { return l.base() >= sweep && l.base() <= sweepEntriesExtras }

// shallow reports whether the line compares single directories.
func (l line) shallow() bool { return l.base() == sweepEntries || l.base() == sweepEntriesExtras }

// partialDir keeps what arrived of a large file whose transfer was cut.
const partialDir = filter.PartialName

// outFormat is the change, the length, the bytes sent, and the name, which may hold anything
// but a newline (rsync escapes it).
const outFormat = "--out-format=%i|%l|%b|%n"

// ownParams are letters and words of the user's options that would change the output that
// is read here; live are those that are wrong in a run that sends single changes: a recursive run
// would send a whole directory for its mark, and --update would leave a file that was replaced by an older one.
var (
	ownParams  = paramSet{"vihqP", []string{"--verbose", "--itemize-changes", "--human-readable", "--quiet", "--progress", "--stats"}}
	liveParams = paramSet{"ru", []string{"--recursive", "--update"}}
	// recursiveParams would compare more than single directories.
	recursiveParams = paramSet{"r", []string{"--recursive"}}
)

type paramSet struct {
	letters string
	words   []string
}

// without returns params without those of the set, also inside bundles such as -artuz.
func (s paramSet) without(params []string) []string {
	var kept []string
next:
	for i := 0; i < len(params); i++ {
		p := params[i]
		for _, word := range s.words {
			if p == word {
				continue next
			}
		}
		if len(p) < 2 || p[0] != '-' || p[1] == '-' {
			kept = append(kept, p)
			continue
		}
		bundle, takesNext := s.bundle(p[1:])
		if bundle != "" {
			kept = append(kept, "-"+bundle)
		}
		if takesNext && i+1 < len(params) {
			i++
			kept = append(kept, params[i])
		}
	}
	return kept
}

// bundle takes letters out of a bundle. A letter that has a value ends it: the value is the
// rest, or, when nothing is left, the next parameter.
func (s paramSet) bundle(letters string) (kept string, takesNext bool) {
	for i, letter := range letters {
		if strings.ContainsRune("BefMT@", letter) {
			return kept + letters[i:], i+1 == len(letters)
		}
		if !strings.ContainsRune(s.letters, letter) {
			kept += string(letter)
		}
	}
	return kept, false
}

// named says how a run is told its paths.
type named uint8

const (
	// byList is a list on standard input: the process can be started, and log in, before there is one. rsync
	// reads it byte by byte, two system calls each.
	byList named = iota
	// byArgs are arguments. For many paths that costs half of the processor time, but the run starts with them only.
	byArgs
)

// args are the arguments of a line that is told its paths by a list. old says that one of the two
// rsyncs is older than 3.1.3.
func (o *Options) args(l line, old bool, exclude ...string) []string {
	return append(o.options(l, byList, old, exclude...), o.target()...)
}

// argsFor are the arguments of a line with the paths of a list among them.
func (o *Options) argsFor(l line, old bool, list []byte) []string {
	args := append(o.options(l, byArgs, old), o.connection()...)
	args = append(args, "--")
	args = append(args, strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00")...)
	return append(args, o.destination())
}

func (o *Options) options(l line, by named, old bool, exclude ...string) []string {
	params := ownParams.without(o.Params)
	sweeping := l.sweeps()
	switch {
	case l.shallow():
		params = recursiveParams.without(params)
	case !sweeping:
		params = liveParams.without(params)
	}
	args := append([]string{}, params...)
	args = append(args, outFormat, "--timeout="+seconds(o.patience(l)))
	switch {
	case !old:
		// Whole seconds are what rsync compares without it: a rewrite within one would be skipped.
		args = append(args, "--modify-window=-1")
	case !sweeping:
		// An older rsync refuses that, or does not mean it. To compare by content is dear; it
		// writes nothing where nothing changed, as --ignore-times would.
		args = append(args, "--checksum")
	}
	switch {
	case l == rootOnly, l == probeOwners:
		args = append(args, "--dirs", "--exclude=*")
	case by == byArgs:
		// What --files-from implies.
		args = append(args, "--relative", "--dirs", "--no-recursive")
	default:
		args = append(args, "--from0", "--files-from=-")
	}
	// With an update the directories above what is listed go along: putting an entry into one changed its times over there.
	if l.base() > updateLargeContent || l&bare != 0 {
		args = append(args, "--no-implied-dirs")
	}
	switch l.base() {
	case update:
		args = append(args, "--ignore-missing-args")
	case updateContent:
		args = append(args, "--ignore-missing-args", "--checksum")
	case updateLargeContent:
		// A checksum of all of it would take longer than the daemon waits for a sign of life.
		args = append(args, "--ignore-times")
		fallthrough
	case updateLarge:
		args = append(args, "--ignore-missing-args", "--partial-dir="+partialDir, "--info=progress2")
	case remove:
		args = append(args, "--delete-missing-args", "--force")
	case removeExact:
		args = append(args, "--delete-missing-args")
	case sweep, sweepExtras, sweepEntries, sweepEntriesExtras:
		args = append(args, "--dry-run", "--ignore-missing-args", "--force", "--filter=P "+partialDir+"/", "--filter=P "+filter.TrashName+"/")
		switch l.base() {
		case sweepExtras, sweepEntriesExtras:
			args = append(args, "--delete")
		}
		if l&hashing != 0 {
			args = append(args, "--checksum")
		}
		if l.shallow() {
			args = append(args, "--dirs")
		} else {
			args = append(args, "--recursive")
		}
		for _, pattern := range exclude {
			args = append(args, "--exclude="+pattern)
		}
	case move:
		args = append(args, "--ignore-missing-args", "--ignore-existing")
	case moveTry:
		args = append(args, "--ignore-missing-args", "--ignore-existing", "--dry-run")
	case probe:
		args = append(args, "--dry-run", "--ignore-missing-args")
	case probeRemovals:
		args = append(args, "--dry-run", "--delete-missing-args")
	case probeOwners:
		args = append(args, "--dry-run", "--usermap=*:"+nobodysID)
	}
	if l.base() <= updateLargeContent && l&keeping == 0 {
		args = append(args, "--force")
	}
	if l&trashing != 0 {
		args = append(args, trashOptions(time.Now())...)
	}
	return args
}

// hashTime is how long a comparison by content may hear nothing of the other side: while it reads a large file, it says nothing.
const hashTime = time.Hour

// patience is how long nothing may move in a run of the line.
func (o *Options) patience(l line) time.Duration {
	if l&hashing != 0 {
		return max(o.Timeout, hashTime)
	}
	return o.Timeout
}

// target are the arguments that say from the working directory to where.
func (o *Options) target() []string {
	return append(o.connection(), "./", o.destination())
}

// connection are the options that say how to reach the target.
func (o *Options) connection() []string {
	var args []string
	if o.Bandwidth > 0 {
		args = append(args, "--bwlimit="+strconv.Itoa(o.Bandwidth))
	}
	switch {
	case o.daemon():
		// Without TCP_NODELAY a small run waits for delayed acks: twenty times as long.
		args = append(args, "--sockopts=TCP_NODELAY", "--no-motd", "--contimeout="+seconds(o.ConnectTimeout))
		if o.PasswordFile != "" {
			args = append(args, "--password-file="+o.PasswordFile)
		}
	case o.ssh():
		// --secluded-args under its old name: the target's directory is not for the shell over there.
		args = append(args, "--protect-args", "--rsh="+o.shellWords())
	}
	return args
}

// destination is the target as rsync names it.
func (o *Options) destination() string {
	switch {
	case o.daemon():
		return "rsync://" + o.address(o.Port) + "/" + o.Module + "/" + slash(strings.TrimLeft(o.Dir, "/"))
	case o.ssh():
		return o.address(0) + ":" + slash(o.Dir)
	default:
		return slash(o.Dir)
	}
}

// slash is dir with a slash at the end, which makes rsync take it for a directory.
func slash(dir string) string {
	if strings.Trim(dir, "/") == "" {
		return dir
	}
	return strings.TrimRight(dir, "/") + "/"
}

func (o *Options) address(port int) string {
	host := o.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != 0 {
		host = net.JoinHostPort(o.Host, strconv.Itoa(port))
	}
	if o.User != "" {
		host = o.User + "@" + host
	}
	return host
}

// sshArgs are the ssh command without the host.
func (o *Options) sshArgs() []string {
	args := []string{o.SSH.Program, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=" + seconds(o.ConnectTimeout)}
	if o.Port != 0 {
		args = append(args, "-p", strconv.Itoa(o.Port))
	}
	if o.SSH.Identity != "" {
		args = append(args, "-i", o.SSH.Identity)
	}
	return append(args, o.SSH.Args...)
}

// shellWords is the ssh command as rsync takes it apart: at spaces, outside of quotes, where a
// doubled quote stands for one. No shell is involved.
func (o *Options) shellWords() string {
	words := o.sshArgs()
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " '\"") {
			words[i] = "'" + strings.ReplaceAll(w, "'", "''") + "'"
		}
	}
	return strings.Join(words, " ")
}

// env is the whole environment of a run. The messages that are read here are those of the C
// locale. An empty password keeps rsync from asking for one on standard input, which is the list.
func (o *Options) env() []string {
	env := []string{"LC_ALL=C", "RSYNC_PASSWORD="}
	if !o.ssh() {
		return env
	}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }
