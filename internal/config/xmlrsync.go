package config

import (
	"strings"

	"sersync/internal/filter"
)

// rsync reads what all remotes share. An --exclude in commonParams becomes a rule of all sources.
func (x *xmlReader) rsync(e *element, common *Source) settings {
	s := settings{Target: newTarget(Place{})}
	s.Kind = Daemon
	ssh := e.child("ssh")
	if x.on(ssh, "start", false) {
		s.Kind = SSH
	}
	params := e.child("commonParams")
	parseParams(x.report, params.at(), text(params, "params", defaultParams), &s, func(pattern string) {
		common.Rules = append(common.Rules, filter.Glob(x.at(params.at()).String(), pattern))
	})
	if auth := e.child("auth"); x.on(auth, "start", false) {
		s.User = text(auth, "users", "root")
		s.PasswordFile = text(auth, "passwordfile", "/etc/rsync.pas")
	}
	if port := e.child("userDefinedPort"); x.on(port, "start", false) {
		x.int(port, "port", 65535, &s.port, 874)
	}
	if timeout := e.child("timeout"); x.on(timeout, "start", false) {
		x.seconds(timeout, "time", &s)
	}
	x.int(ssh, "port", 65535, &s.sshPort, s.sshPort)
	s.SSHKey = text(ssh, "key", s.SSHKey)
	return s
}

// remote reads one target. Its attributes override what is common.
func (x *xmlReader) remote(e *element, base settings) Target {
	s := base.clone()
	if _, ok := e.get("ssh"); ok {
		s.Kind = Daemon
		if x.on(e, "ssh", false) {
			s.Kind = SSH
		}
	}
	switch value := text(e, "transport", "rsync"); value {
	case "rsync":
	case "native":
		if s.Kind == SSH {
			s.Kind = NativeSSH
		} else {
			s.Kind, s.port = Native, 0
		}
		s.rsh = false
	default:
		x.fail(e.line, "transport of <remote> cannot be used:", value, `write "rsync", or "native" for a sersync receive`)
	}
	if params, ok := e.get("params"); ok {
		s.rsh, s.SSHOptions = false, nil
		parseParams(x.report, e.line, params, &s, nil)
	}
	ip, _ := e.get("ip")
	name, _ := e.get("name")
	if x.required(e, "ip", ip) && x.required(e, "name", name) {
		s.Host, s.Path = ip, name
	}
	s.User = text(e, "users", s.User)
	// 2.5.4 put both into one string, so a user could stand in ip.
	if at := strings.LastIndexByte(s.Host, '@'); at > 0 {
		s.User, s.Host = s.Host[:at], s.Host[at+1:]
	}
	s.Host = strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]")
	s.PasswordFile = text(e, "passwordfile", s.PasswordFile)
	s.SSHKey = text(e, "sshkey", s.SSHKey)
	x.int(e, "port", 65535, &s.port, s.port)
	x.int(e, "sshport", 65535, &s.sshPort, s.sshPort)
	x.seconds(e, "timeout", &s)
	x.seconds(e, "connecttimeout", &s)
	if rate, ok := e.get("bwlimit"); ok {
		n, err := parseRsyncRate(rate)
		if err != nil {
			x.fail(e.line, "bwlimit cannot be used:", rate, "write KiB a second, or as 10MB")
		}
		s.Bandwidth = n
	}
	if s.Host == "" || s.Path == "" {
		return s.Target
	}
	return s.target(x.report, e.line, redact(ip)+" "+name)
}

func (x *xmlReader) required(e *element, attr, value string) bool {
	if value == "" {
		x.fail(e.line, attr+" of <"+e.name+"> is missing or empty", "", "write "+attr+`="..."`)
	}
	return value != ""
}

// int reads a number from 1 on into n; a missing one is the shipped one.
func (x *xmlReader) int(e *element, attr string, most int, n *int, shipped int) {
	*n = shipped
	value, ok := e.get(attr)
	if !ok {
		return
	}
	read, err := parseInt(value, 1, most)
	if err != nil {
		x.fail(e.line, attr+" of <"+e.name+"> cannot be used:", value, err.Error())
		return
	}
	*n = read
}

// seconds reads whole seconds into the time-out that the attribute is of.
func (x *xmlReader) seconds(e *element, attr string, s *settings) {
	value, ok := e.get(attr)
	if !ok {
		return
	}
	d, err := parseSeconds(value)
	if err != nil {
		x.fail(e.line, attr+" of <"+e.name+"> cannot be used:", value, err.Error()+", in seconds")
		return
	}
	if attr == "connecttimeout" {
		s.ConnectTimeout = d
	} else {
		s.Timeout = d
	}
}
