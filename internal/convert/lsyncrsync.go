package convert

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	lua "github.com/yuin/gopher-lua"
)

// ofArchive are the options that rsync's -a holds and that may be taken out of it.
var ofArchive = []string{"links", "owner", "group", "perms", "times"}

// archive decides between -a and the options that lsyncd has without archive = true: links and times alone.
func (y *syncReader) archive() {
	t, _ := y.all["rsync"].(*lua.LTable)
	get := func(key string) lua.LValue {
		if t == nil {
			return lua.LNil
		}
		return t.RawGetString(key)
	}
	if get("archive") == lua.LTrue {
		for _, name := range ofArchive {
			if get(name) == lua.LFalse {
				y.options = append(y.options, "--no-"+name)
			}
		}
		return
	}
	y.target = append(y.target, yaml.MapItem{Key: "archive", Value: false})
	y.options = append(y.options, "-r")
	for _, name := range []string{"links", "times"} {
		if get(name) != lua.LFalse {
			y.options = append(y.options, "--"+name)
		}
	}
	y.changed(y.line("rsync"), "rsync", lua.LString("archive = false"),
		"as with lsyncd, modes, owners and groups are not replicated; remove archive: false and rsync_options to have them")
}

// valued are the keys of rsync = {} with a value.
var valued = []string{"backup_dir", "bwlimit", "chmod", "chown", "groupmap", "rsh", "rsync_path", "suffix", "temp_dir", "timeout", "usermap"}

// rsync reads rsync = {...}.
func (y *syncReader) rsync(v lua.LValue) {
	t, ok := v.(*lua.LTable)
	if !ok {
		y.lost(y.line("rsync"), "rsync", v, "it is no table")
		return
	}
	for _, key := range sortedKeys(t) {
		y.rsyncKey(key, t.RawGetString(key))
	}
}

func (y *syncReader) rsyncKey(key string, v lua.LValue) {
	at, full := y.line("rsync."+key), "rsync."+key
	word := "--" + strings.ReplaceAll(key, "_", "-")
	switch {
	case key == "archive":
	case key == "binary":
		y.lost(at, full, v, "the rsync that is found in PATH is started")
	case key == "password_file":
		y.try(at, full, v, "password_file", y.path(v.String()))
	case key == "_extra":
		for _, extra := range listOf(v) {
			y.option(at, full, lua.LString(extra), extra)
		}
	case slices.Contains(valued, key):
		y.option(at, full, v, word+"="+v.String())
	case v == lua.LTrue && slices.Contains([]string{"links", "times"}, key):
	case v == lua.LTrue:
		y.option(at, full, v, word)
	case v == lua.LFalse: // the default, or taken out of -a
	default:
		y.lost(at, full, v, "it is neither true nor false")
	}
}

// try adds a key of the target.
func (y *syncReader) try(at int, written string, v lua.LValue, key, value string) {
	before := y.target
	y.target = append(slices.Clone(y.target), yaml.MapItem{Key: key, Value: value})
	if _, err := y.result(); err != nil {
		y.target = before
		y.lost(at, written, v, err.Error())
	}
}

// option adds a word for rsync. One that changes nothing is not needed.
func (y *syncReader) option(at int, written string, v lua.LValue, word string) {
	was, _ := y.result()
	before := y.options
	y.options = append(slices.Clone(y.options), word)
	is, err := y.result()
	switch {
	case err != nil && written == "rsync.rsh":
		// It may hold a password, as for sshpass.
		y.options = before
		y.lost(at, written, lua.LNil, "only ssh and its options may start the other side")
	case err != nil:
		y.options = before
		y.lost(at, written, v, err.Error())
	case was.Targets[0].Identity() == is.Targets[0].Identity():
		y.options = before
		y.needless(at, written, v, "it changes nothing here")
	}
}

// ssh reads ssh = {...}.
func (y *syncReader) ssh(v lua.LValue) {
	t, ok := v.(*lua.LTable)
	if !ok {
		y.lost(y.line("ssh"), "ssh", v, "it is no table")
		return
	}
	var words []string
	for _, key := range sortedKeys(t) {
		v, at := t.RawGetString(key), y.line("ssh."+key)
		switch key {
		case "port":
			words = append(words, "-p", v.String())
		case "identityFile":
			words = append(words, "-i", v.String())
		case "options":
			options, ok := v.(*lua.LTable)
			if !ok {
				y.lost(at, "ssh.options", v, "it is no table")
				continue
			}
			for _, name := range sortedKeys(options) {
				words = append(words, "-o", name+"="+options.RawGetString(name).String())
			}
		case "_extra":
			words = append(words, listOf(v)...)
		default:
			y.lost(at, "ssh."+key, v, "the ssh that is found in PATH is started")
		}
	}
	if len(words) > 0 {
		y.try(y.line("ssh"), "ssh", v, "ssh_options", line(words))
	}
}
