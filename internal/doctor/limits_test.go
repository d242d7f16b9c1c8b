package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"sersync/internal/httpd"
)

// proc is a /proc with these limits.
func proc(t *testing.T, values map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, value := range values {
		write(t, filepath.Join(dir, name), value+"\n")
	}
	return dir
}

func TestLimitsThatAreTooLowAreNamedWithWhatToWrite(t *testing.T) {
	e := &examination{need: need{dirs: 600000, sources: 3, targets: 9}, Options: Options{
		Running: &httpd.Status{PID: 77},
		Proc: proc(t, map[string]string{
			"sys/fs/inotify/max_user_watches":    "8192",
			"sys/fs/inotify/max_user_instances":  "2",
			"sys/fs/inotify/max_queued_events":   "16384",
			"sys/fs/fanotify/max_user_groups":    "1",
			"sys/fs/fanotify/max_user_marks":     "1",
			"sys/fs/fanotify/max_queued_events":  "1",
			"sys/fs/file-nr":                     "990\t0\t1000",
			"77/limits":                          "Limit                     Soft Limit           Hard Limit           Units\nMax open files            64                   128                  files",
			"sys/user/max_inotify_instances":     "100",
			"sys/user/max_inotify_watches":       "9000",
			"sys/user/max_inotify_unknown_thing": "1",
		}),
	}}
	p := e.limits()
	level, queue := Problem, Warning
	if os.Geteuid() == 0 {
		level, queue = Warning, Note
	}
	want(t, p, level, "max_user_watches", "fs.inotify.max_user_watches is 8192, the sources have 600000 directories", "fs.inotify.max_user_watches = 2097152 ")
	want(t, p, Problem, "max_user_instances", "is 2, for 3 sources", "fs.inotify.max_user_instances = 128 ")
	want(t, p, queue, "max_queued_events", "is 16384", "fs.inotify.max_queued_events = 262144 ")
	want(t, p, Problem, "open_files", "of the daemon is 128, up to 472 are needed", "LimitNOFILE=944")
	want(t, p, Problem, "file-max", "fs.file-max is 1000, of which 990", "fs.file-max = 2000")
	want(t, p, Warning, "fanotify", "max_user_groups is 1", "fs.fanotify.max_user_groups = 128 ")
}

// In a container the limit of the user namespace binds, which root there cannot raise by the other one.
func TestLimitOfAUserNamespaceBinds(t *testing.T) {
	e := &examination{need: need{dirs: 100, sources: 1}, Options: Options{Proc: proc(t, map[string]string{
		"sys/fs/inotify/max_user_watches": "8192", "sys/user/max_inotify_watches": "50",
	})}}
	want(t, e.limits(), Problem, "max_user_watches", "user.max_inotify_watches is 50, the sources have 100 directories: at least 50", "user.max_inotify_watches = 524288")
}

func TestLimitsThatAreHighEnoughAreWell(t *testing.T) {
	e := &examination{need: need{dirs: 1000, sources: 2, targets: 2}, Options: Options{Proc: proc(t, map[string]string{
		"sys/fs/inotify/max_user_watches":   "8192",
		"sys/fs/inotify/max_user_instances": "128",
		"sys/fs/inotify/max_queued_events":  "262144",
		"sys/fs/fanotify/max_user_groups":   "128",
		"sys/fs/fanotify/max_user_marks":    "8192",
		"sys/fs/fanotify/max_queued_events": "16384",
		"sys/fs/file-nr":                    "990\t0\t9223372036854775807",
	})}}
	noWorse(t, e.limits())
}
