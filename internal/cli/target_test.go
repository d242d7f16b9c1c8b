package cli

import (
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sersync/internal/filter"
	"sersync/internal/transport/rsync/rsyncdtest"
	"sersync/internal/treetest"
)

// rsyncd [-name NAME] [-address A] [-port N] [-conf FILE] [MODULE...]: starts an rsync daemon with the modules, and with
// those of FILE, whose lines win over the fixture's own. It sets HOST, PORT, USER, PASSWORD_FILE, and for each module
// URL_MODULE and DIR_MODULE; with a name all of them end in _NAME. "rsyncd stop [NAME]" and "rsyncd restart [NAME]"
// stop it and start it again.
func rsyncd(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("scene").(*scene)
	name := strings.Join(args[min(1, len(args)):], "")
	switch strings.Join(args[:min(1, len(args))], "") {
	case "stop":
		s.rsyncds[name].Stop()
		return
	case "restart":
		s.rsyncds[name].Restart()
		return
	}
	var o rsyncdtest.Options
	flags := flag.NewFlagSet("rsyncd", flag.ContinueOnError)
	as := flags.String("name", "", "")
	conf := flags.String("conf", "", "")
	flags.StringVar(&o.Address, "address", "", "")
	flags.IntVar(&o.Port, "port", 0, "")
	ts.Check(flags.Parse(args))
	if *conf != "" {
		o.Global, o.Modules = sections(ts.ReadFile(*conf))
	}
	for _, module := range flags.Args() {
		o.Modules = append(o.Modules, rsyncdtest.Module{Name: module})
	}
	d := rsyncdtest.Start(s.t, o)
	s.rsyncds[*as] = d
	set := func(key, value string) {
		if *as != "" {
			key += "_" + *as
		}
		ts.Setenv(key, value)
	}
	set("HOST", d.Host())
	set("PORT", strconv.Itoa(d.Port()))
	set("USER", rsyncdtest.User)
	set("PASSWORD_FILE", d.PasswordFile())
	for _, m := range o.Modules {
		set("URL_"+m.Name, d.URL(m.Name))
		set("DIR_"+m.Name, d.Dir(m.Name))
	}
}

// sections are the lines of an rsyncd.conf before the first module, and its modules.
func sections(conf string) (global []string, modules []rsyncdtest.Module) {
	for line := range strings.Lines(conf) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "["):
			modules = append(modules, rsyncdtest.Module{Name: strings.Trim(line, "[]")})
		case len(modules) > 0:
			m := &modules[len(modules)-1]
			m.Lines = append(m.Lines, line)
		default:
			global = append(global, line)
		}
	}
	return global, modules
}

// owners are the owner and group in a snapshot's line.
var owners = regexp.MustCompile(` \d+:\d+ mtime=`)

// same [-noowners] SOURCE TARGET: the trees are equal; without their owners where the daemon's user may not give files away.
func same(ts *testscript.TestScript, neg bool, args []string) {
	t := ts.Value("scene").(*scene).t
	noowners := args[0] == "-noowners"
	dirs := args[len(args)-2:]
	source := treetest.Snapshot(t, ts.MkAbs(dirs[0]), nil)
	target := treetest.Snapshot(t, ts.MkAbs(dirs[1]), func(rel string) bool {
		return strings.HasPrefix(filepath.Base(rel), filter.TempPrefix) // what a loss of power would need, for some seconds
	})
	if noowners {
		for _, snapshot := range []map[string]string{source, target} {
			for name, line := range snapshot {
				snapshot[name] = owners.ReplaceAllString(line, " mtime=")
			}
		}
	}
	diff := treetest.Diff(source, target)
	if (diff == "") == neg {
		ts.Fatalf("%s and %s:\n%s", dirs[0], dirs[1], diff)
	}
}

// restore PASSWORD_FILE URL DIRECTORY: brings back into a new directory what a target holds, as after the loss of the source.
func restore(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: restore PASSWORD_FILE URL DIRECTORY")
	}
	ts.Check(os.RemoveAll(ts.MkAbs(args[2])))
	// Whole seconds are what rsync compares without a window.
	ts.Check(ts.Exec("rsync", "-a", "--modify-window=-1", "--password-file="+args[0], args[1]+"/", args[2]+"/"))
}

// fill DIRECTORY COUNT KIB [RATE]: makes files of 1 to 10 tenths of KIB, all at once or RATE a second.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	number := func(n int) int {
		if n >= len(args) {
			return 0
		}
		value, err := strconv.Atoi(args[n])
		ts.Check(err)
		return value
	}
	dir, count, kib, rate := ts.MkAbs(args[0]), number(1), number(2), number(3)
	ts.Check(os.MkdirAll(dir, 0o755))
	var pace <-chan time.Time
	if rate > 0 {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		pace = ticker.C
	}
	content := make([]byte, kib*1024)
	for n := range count {
		if pace != nil {
			<-pace
		}
		rand.Read(content)
		size := len(content)
		if pace != nil {
			size = size * (n%10 + 1) / 10
		}
		ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%d", n)), content[:size], 0o644))
	}
}
