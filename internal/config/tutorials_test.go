package config

import (
	"fmt"
	"testing"
	"time"

	"sersync/internal/filter"
)

// shipped is the file of 2.5.4 with the elements that tutorials change.
func shipped(localpaths, params, auth, port, timeout string) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="ISO-8859-1"?>
<head version="2.5">
    <host hostip="localhost" port="8008"></host>
    <debug start="false"/>
    <fileSystem xfs="false"/>
    <filter start="false">
	<exclude expression="(.*)\.svn"></exclude>
    </filter>
    <inotify>
	<delete start="true"/>
	<createFolder start="true"/>
	<createFile start="false"/>
	<closeWrite start="true"/>
	<moveFrom start="true"/>
	<moveTo start="true"/>
	<attrib start="false"/>
	<modify start="false"/>
    </inotify>
    <sersync>
	%s
	<rsync>
	    <commonParams params="%s"/>
	    <auth %s/>
	    <userDefinedPort %s/><!-- port=874 -->
	    <timeout %s/><!-- timeout=100 -->
	    <ssh start="false"/>
	</rsync>
	<failLog path="/tmp/rsync_fail_log.sh" timeToExecute="60"/>
	<crontab start="false" schedule="600">
	    <crontabfilter start="false">
		<exclude expression="*.php"></exclude>
	    </crontabfilter>
	</crontab>
	<plugin start="false" name="command"/>
    </sersync>
</head>
`, localpaths, params, auth, port, timeout)
}

const (
	authOff = `start="false" users="root" passwordfile="/etc/rsync.pas"`
	portOff = `start="false" port="874"`
	timeOff = `start="false" time="100"`
	timeOn  = `start="true" time="100"`
)

var hidden = []filter.Rule{filter.Hidden("conf:6")}

func path(watch, ip, name string) string {
	return `<localpath watch="` + watch + `"> <remote ip="` + ip + `" name="` + name + `"/> </localpath>`
}

func TestTutorialNFSServerToBackup(t *testing.T) {
	auth := `start="true" users="rsync_backup" passwordfile="/etc/rsync.password"`
	want := func(module string, params ...string) []Source {
		return []Source{source(20, "/data", hidden, target(20, Daemon, "172.16.1.41", module, func(t *Target) {
			t.User, t.PasswordFile, t.Params = "rsync_backup", "/etc/rsync.password", params
		}))}
	}
	c, _ := parseGood(t, "conf", shipped(path("/data", "172.16.1.41", "backup"), "-artuz", auth, portOff, timeOn))
	equal(t, want("backup", "-a", "-r", "-t", "-u", "-z"), c.Sources)
	c, _ = parseGood(t, "conf", shipped(path("/data", "172.16.1.41", "nfsbackup"), "-az", auth, portOff, timeOn))
	equal(t, want("nfsbackup", "-a", "-z"), c.Sources)
}

func TestTutorialThreeSitesInThreeFilesAndInOne(t *testing.T) {
	all := ""
	var want []Source
	names := make(map[string]bool)
	for _, site := range []string{"www", "bbs", "blog"} {
		local := `<localpath watch="/data/` + site + `"><remote ip="192.168.0.168" name="` + site + `"/><remote ip="192.168.0.169" name="` + site + `"/></localpath> `
		s := source(20, "/data/"+site, hidden, target(20, Daemon, "192.168.0.168", site, nil), target(20, Daemon, "192.168.0.169", site, nil))
		c, _ := parseGood(t, "conf", shipped(local, "-a", authOff, portOff, timeOff))
		equal(t, []Source{s}, c.Sources)
		names[instanceName(site+"_confxml.xml")] = true
		want = append(want, s)
		all += local
	}
	c, _ := parseGood(t, "conf", shipped(all, "-a", authOff, portOff, timeOff))
	equal(t, want, c.Sources)
	equal(t, 3, len(names)) // three processes side by side share no socket
}

func TestTutorialTwoTargetsWithTheirOwnCredentials(t *testing.T) {
	local := `<localpath watch="/data/www"><remote ip="host1" name="web1" users="www1" passwordfile="/etc/www1.pwd"/>` +
		`<remote ip="host2" name="web2" users="www2" passwordfile="/etc/www2.pwd"/></localpath>`
	c, _ := parseGood(t, "conf", shipped(local, "-vzrtopg --progress", authOff, portOff, timeOff))
	params := []string{"-z", "-r", "-t", "-o", "-p", "-g"}
	equal(t, []Source{source(20, "/data/www", hidden,
		target(20, Daemon, "host1", "web1", func(t *Target) { t.User, t.PasswordFile, t.Params = "www1", "/etc/www1.pwd", params }),
		target(20, Daemon, "host2", "web2", func(t *Target) { t.User, t.PasswordFile, t.Params = "www2", "/etc/www2.pwd", params }),
	)}, c.Sources)
}

func TestTutorialTwoDaemonsOnTwoPorts(t *testing.T) {
	common := shipped(path("/data", "172.16.1.41", "backup"), "-a", authOff, `start="true" port="874"`, `start="true" time="30"`)
	c, _ := parseGood(t, "conf", common)
	want := target(20, Daemon, "172.16.1.41", "backup", func(t *Target) { t.Port, t.Timeout = 874, 30*time.Second })
	equal(t, []Source{source(20, "/data", hidden, want)}, c.Sources)

	local := `<localpath watch="/data"><remote ip="172.16.1.41" name="backup"/><remote ip="172.16.1.41" name="backup" port="874"/></localpath>`
	c, _ = parseGood(t, "conf", shipped(local, "-a", authOff, portOff, `start="true" time="30"`))
	live := want
	live.Port = 0
	equal(t, []Source{source(20, "/data", hidden, live, want)}, c.Sources)
}
