package config

// verdict is what becomes of an option of rsync in commonParams, params or rsync_options.
type verdict uint8

const (
	pass   verdict = iota // given to rsync
	weaken                // given to rsync, and a promise is less than it was
	drop                  // sersync does it anyway, or it only changes what rsync prints
	mapped                // becomes a setting of the target
	refuse                // an error
)

// option is one option of rsync.
type option struct {
	long  string // without dashes; empty when there is only the short form
	short byte
	value bool // takes a value
	verdict
	// why is, for weaken, what is less; for drop and mapped, what happens; for refuse, the reason and the remedy.
	why string
}

// Reasons that several options share.
const (
	whyPrints   = "it only changes what rsync prints, which sersync reads itself"
	whyRemovals = `sersync decides on removals itself: use <delete start="true"/> (YAML: delete: true)`
	whyFilter   = `the filter must be sersync's own, or it would remove what rsync leaves out: use <filter> (YAML: exclude)`
	whyOutside  = "it would read outside the source: make the directory a source of its own"
	whyBatch    = "it is no replication to a target"
	whyServer   = "it belongs to rsync's own server side"
	whyDone     = "sersync does it anyway"
	whyPartial  = "sersync resumes large files itself"
	whyTarget   = "it writes on the target where the source has nothing to say"
	whyMissing  = "files that match are missing on the target, or stay old"
)

// options is the closed table of what rsync 3.5 and the versions before it know.
var options = []option{
	// What is replicated of a file.
	{"archive", 'a', false, pass, ""},
	{"recursive", 'r', false, pass, ""},
	{"links", 'l', false, pass, ""},
	{"perms", 'p', false, pass, ""},
	{"times", 't', false, pass, ""},
	{"group", 'g', false, pass, ""},
	{"owner", 'o', false, pass, ""},
	{"", 'D', false, pass, ""},
	{"devices", 0, false, pass, ""},
	{"specials", 0, false, pass, ""},
	{"hard-links", 'H', false, weaken, "with rsync only hard links that change at the same time stay linked on the target"},
	{"acls", 'A', false, pass, ""},
	{"xattrs", 'X', false, pass, ""},
	{"executability", 'E', false, pass, ""},
	{"numeric-ids", 0, false, pass, ""},
	{"super", 0, false, pass, ""},
	{"fake-super", 0, false, pass, ""},
	{"update", 'u', false, pass, ""},
	{"atimes", 'U', false, weaken, "every reading of a file makes it differ from the target"},
	{"crtimes", 'N', false, pass, ""},
	{"open-noatime", 0, false, pass, ""},
	{"omit-dir-times", 'O', false, weaken, "times of directories are not replicated"},
	{"omit-link-times", 'J', false, weaken, "times of symlinks are not replicated"},
	{"chmod", 0, true, weaken, "modes on the target are not those of the source"},
	{"chown", 0, true, weaken, "owners on the target are not those of the source"},
	{"usermap", 0, true, weaken, "owners on the target are not those of the source"},
	{"groupmap", 0, true, weaken, "groups on the target are not those of the source"},
	{"drop-D", 0, false, weaken, "devices and special files are not replicated"},

	// How it is transferred.
	{"compress", 'z', false, weaken, "on a LAN it only costs time; use it on slow lines"},
	{"compress-choice", 0, true, pass, ""},
	{"zc", 0, true, pass, ""},
	{"compress-level", 0, true, pass, ""},
	{"zl", 0, true, pass, ""},
	{"compress-threads", 0, true, pass, ""},
	{"zt", 0, true, pass, ""},
	{"skip-compress", 0, true, pass, ""},
	{"whole-file", 'W', false, pass, ""},
	{"checksum", 'c', false, weaken, "every run reads all its files on both sides"},
	{"checksum-choice", 0, true, pass, ""},
	{"cc", 0, true, pass, ""},
	{"checksum-seed", 0, true, pass, ""},
	{"block-size", 'B', true, pass, ""},
	{"sparse", 'S', false, pass, ""},
	{"preallocate", 0, false, pass, ""},
	{"fuzzy", 'y', false, pass, ""},
	{"copy-dest", 0, true, pass, ""},
	{"link-dest", 0, true, pass, ""},
	{"temp-dir", 'T', true, weaken, "readers on the target may see half a file when the directory is on another file system"},
	{"delay-updates", 0, false, pass, ""},
	{"fsync", 0, false, pass, ""},
	{"mkpath", 0, false, pass, ""},
	{"rsync-path", 0, true, pass, ""},
	{"address", 0, true, pass, ""},
	{"ipv4", '4', false, pass, ""},
	{"ipv6", '6', false, pass, ""},
	{"protocol", 0, true, pass, ""},
	{"max-alloc", 0, true, pass, ""},
	{"secluded-args", 's', false, pass, ""},
	{"protect-args", 0, false, pass, ""},
	{"trust-sender", 0, false, pass, ""},
	{"munge-links", 0, false, weaken, "symlinks on the target lead nowhere until they are unmunged"},
	{"safe-links", 0, false, weaken, "symlinks that lead out of the tree are not replicated"},
	{"one-file-system", 'x', false, weaken, "what is mounted below the source is missing on the target when a directory is compared"},
	{"inplace", 0, false, weaken, "readers on the target see files that are half old, half new"},
	{"size-only", 0, false, weaken, "a change that keeps the size does not arrive"},
	{"ignore-times", 'I', false, weaken, "a sweep sends every file"},
	{"modify-window", '@', true, weaken, "a change within that time that keeps the size does not arrive"},
	{"existing", 0, false, weaken, "new files do not arrive"},
	{"ignore-non-existing", 0, false, weaken, "new files do not arrive"},
	{"ignore-existing", 0, false, weaken, "changes of files do not arrive"},
	{"max-size", 0, true, weaken, whyMissing},
	{"min-size", 0, true, weaken, whyMissing},
	{"prune-empty-dirs", 'm', false, weaken, "empty directories do not arrive"},
	{"backup", 'b', false, weaken, "backups on the target are more than the source has, and a sweep removes them"},
	{"backup-dir", 0, true, weaken, "backups on the target are more than the source has, and a sweep removes them"},
	{"suffix", 0, true, pass, ""},

	// Settings of the target.
	{"timeout", 0, true, mapped, ""},
	{"contimeout", 0, true, mapped, ""},
	{"bwlimit", 0, true, mapped, ""},
	{"port", 0, true, mapped, ""},
	{"rsh", 'e', true, mapped, ""},
	{"exclude", 0, true, mapped, ""},

	// What sersync does anyway, and what rsync prints.
	{"relative", 'R', false, drop, whyDone},
	{"implied-dirs", 0, false, drop, whyDone},
	{"dirs", 'd', false, drop, whyDone},
	{"old-dirs", 0, false, drop, whyDone},
	{"from0", '0', false, drop, whyDone},
	{"force", 0, false, drop, whyDone},
	{"ignore-missing-args", 0, false, drop, whyDone},
	{"sockopts", 0, true, drop, "sersync sets TCP_NODELAY itself"},
	{"blocking-io", 0, false, drop, whyDone},
	{"inc-recursive", 0, false, drop, whyDone},
	{"i-r", 0, false, drop, whyDone},
	{"partial", 0, false, drop, whyPartial},
	{"partial-dir", 0, true, drop, whyPartial},
	{"", 'P', false, drop, whyPartial},
	{"verbose", 'v', false, drop, whyPrints},
	{"quiet", 'q', false, drop, whyPrints},
	{"human-readable", 'h', false, drop, whyPrints},
	{"progress", 0, false, drop, whyPrints},
	{"stats", 0, false, drop, whyPrints},
	{"itemize-changes", 'i', false, drop, whyPrints},
	{"8-bit-output", '8', false, drop, whyPrints},
	{"motd", 0, false, drop, whyPrints},
	{"info", 0, true, drop, whyPrints},
	{"debug", 0, true, drop, whyPrints},
	{"stderr", 0, true, drop, whyPrints},
	{"msgs2stderr", 0, false, drop, whyPrints},
	{"out-format", 0, true, drop, whyPrints},
	{"log-format", 0, true, drop, whyPrints},
	{"log-file", 0, true, drop, whyPrints},
	{"log-file-format", 0, true, drop, whyPrints},
	{"outbuf", 0, true, drop, whyPrints},

	// Refused.
	{"delete", 0, false, refuse, whyRemovals},
	{"del", 0, false, refuse, whyRemovals},
	{"delete-before", 0, false, refuse, whyRemovals},
	{"delete-during", 0, false, refuse, whyRemovals},
	{"delete-delay", 0, false, refuse, whyRemovals},
	{"delete-after", 0, false, refuse, whyRemovals},
	{"delete-excluded", 0, false, refuse, whyRemovals},
	{"delete-missing-args", 0, false, refuse, whyRemovals},
	{"ignore-errors", 0, false, refuse, whyRemovals},
	{"max-delete", 0, true, refuse, whyRemovals},
	{"remove-source-files", 0, false, refuse, "it empties the source"},
	{"remove-sent-files", 0, false, refuse, "it empties the source"},
	{"append", 0, false, refuse, "a file that was changed and not only made longer would stay wrong for ever"},
	{"append-verify", 0, false, refuse, "a file that was changed and not only made longer would be written twice; sersync resumes large files itself"},
	{"compare-dest", 0, true, refuse, "files that are equal there would never arrive"},
	{"dry-run", 'n', false, refuse, "nothing would ever be sent"},
	{"list-only", 0, false, refuse, "nothing would ever be sent"},
	{"files-from", 0, true, refuse, "sersync tells rsync itself what to send"},
	{"copy-links", 'L', false, refuse, whyOutside},
	{"copy-unsafe-links", 0, false, refuse, whyOutside},
	{"copy-dirlinks", 'k', false, refuse, whyOutside},
	{"insecure-links", 0, false, refuse, whyOutside},
	{"confine-root", 0, true, refuse, whyDone},
	{"keep-dirlinks", 'K', false, refuse, "it writes outside the target, where a symlink there leads to"},
	{"copy-devices", 0, false, refuse, whyOutside},
	{"write-devices", 0, false, refuse, whyTarget},
	{"copy-as", 0, true, refuse, "run sersync itself as that user"},
	{"password-file", 0, true, refuse, `use passwordfile="FILE" in <auth> or <remote> (YAML: password_file)`},
	{"early-input", 0, true, refuse, whyServer},
	{"filter", 'f', true, refuse, whyFilter},
	{"", 'F', false, refuse, whyFilter},
	{"cvs-exclude", 'C', false, refuse, whyFilter},
	{"exclude-from", 0, true, refuse, whyFilter},
	{"include", 0, true, refuse, whyFilter},
	{"include-from", 0, true, refuse, whyFilter},
	{"remote-option", 'M', true, mapped, ""},
	{"old-args", 0, false, refuse, "file names would be read by a shell on the target"},
	{"iconv", 0, true, refuse, "a name is bytes, and arrives as it is"},
	{"stop-after", 0, true, refuse, whyBatch},
	{"time-limit", 0, true, refuse, whyBatch},
	{"stop-at", 0, true, refuse, whyBatch},
	{"write-batch", 0, true, refuse, whyBatch},
	{"only-write-batch", 0, true, refuse, whyBatch},
	{"read-batch", 0, true, refuse, whyBatch},
	{"daemon", 0, false, refuse, whyServer},
	{"server", 0, false, refuse, whyServer},
	{"sender", 0, false, refuse, whyServer},
	{"config", 0, true, refuse, whyServer},
	{"dparam", 0, true, refuse, whyServer},
	{"detach", 0, false, refuse, whyServer},
	{"help", 0, false, refuse, whyBatch},
	{"version", 'V', false, refuse, whyBatch},
}

// negations are the --no-OPTION forms that may be passed on, and what each leaves out.
var negations = []option{
	{"perms", 0, false, weaken, "modes are not replicated"},
	{"p", 0, false, weaken, "modes are not replicated"},
	{"owner", 0, false, weaken, "owners are not replicated"},
	{"o", 0, false, weaken, "owners are not replicated"},
	{"group", 0, false, weaken, "groups are not replicated"},
	{"g", 0, false, weaken, "groups are not replicated"},
	{"times", 0, false, weaken, "times are not replicated, and a sweep sends every file"},
	{"t", 0, false, weaken, "times are not replicated, and a sweep sends every file"},
	{"links", 0, false, weaken, "symlinks are not replicated"},
	{"l", 0, false, weaken, "symlinks are not replicated"},
	{"devices", 0, false, weaken, "devices are not replicated"},
	{"specials", 0, false, weaken, "pipes and sockets are not replicated"},
	{"D", 0, false, weaken, "devices, pipes and sockets are not replicated"},
	{"whole-file", 0, false, pass, ""},
	{"W", 0, false, pass, ""},
	{"compress", 0, false, pass, ""},
	{"z", 0, false, pass, ""},
	{"checksum", 0, false, pass, ""},
	{"c", 0, false, pass, ""},
	{"update", 0, false, pass, ""},
	{"u", 0, false, pass, ""},
	{"recursive", 0, false, drop, whyDone},
	{"r", 0, false, drop, whyDone},
	{"implied-dirs", 0, false, drop, whyDone},
	{"inc-recursive", 0, false, drop, whyDone},
	{"i-r", 0, false, drop, whyDone},
	{"motd", 0, false, drop, whyPrints},
	{"verbose", 0, false, drop, whyPrints},
	{"v", 0, false, drop, whyPrints},
	{"progress", 0, false, drop, whyPrints},
	{"human-readable", 0, false, drop, whyPrints},
	{"h", 0, false, drop, whyPrints},
	{"relative", 0, false, refuse, "every file would arrive in the root of the target"},
	{"R", 0, false, refuse, "every file would arrive in the root of the target"},
	{"dirs", 0, false, refuse, "directories would not be replicated"},
	{"d", 0, false, refuse, "directories would not be replicated"},
}
