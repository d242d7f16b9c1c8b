package convert

import (
	"strings"
	"testing"
)

// Every key that the conversion knows is in the table of the documents.
func TestEveryKeyIsDocumented(t *testing.T) {
	names := append([]string{
		"logfile", "pidfile", "maxProcesses", "inotifyMode", "source", "target", "targetdir", "host", "init", "delay", "delete", "exclude",
		"excludeFrom", "archive", "binary", "password_file", "_extra", "port", "identityFile", "options",
	}, append(ofArchive, valued...)...)
	for _, table := range []map[string]string{settingsOf, syncOf} {
		for key := range table {
			names = append(names, key)
		}
	}
	for _, file := range []string{"../../docs/migrating-from-lsyncd.md", "../../docs/migrating-from-lsyncd.zh-CN.md"} {
		text := string(read(t, file))
		for _, name := range names {
			// lsyncd itself once spelled it so.
			if name != "statusIntervall" && !strings.Contains(text, "`"+name+"`") {
				t.Errorf("%s says nothing of %s", file, name)
			}
		}
	}
}
