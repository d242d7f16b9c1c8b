package config

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// checkHooks finds what is wrong with hooks as they stand. Of a plugin that several sources have it is said once.
func (r *report) checkHooks(c *Config) {
	plugins := make(map[Place]bool)
	for i := range c.Sources {
		names := make(map[string]Place)
		for _, h := range c.Sources[i].hooks() {
			if first, ok := names[h.Name]; ok {
				r.add(Error, h.Place, "a name of a hook for the second time:", h.Name, "it is that of the one at "+first.String()+": names are unique in a source")
			}
			names[h.Name] = h.Place
			if h.Plugin != nil && !plugins[h.Plugin.Place] {
				plugins[h.Plugin.Place] = true
				r.checkPlugin(c, *h.Plugin)
			}
		}
	}
}

func (r *report) checkPlugin(c *Config, p Plugin) {
	switch p.Name {
	case "command":
		if does := executes(p.Prefix); does != "" && p.Prefix+p.Suffix != "" {
			r.add(Warning, p.Place, "the plugin command would "+does+":", p.Prefix,
				"name a program of your own in prefix, as /usr/local/bin/PROGRAM or sh /usr/local/bin/SCRIPT, which is given the path")
		}
	case "socket", "refreshCDN":
		if err := checkName("host", p.Host, "/@"); err != nil && p.Host != "" {
			r.add(Error, p.Place, "host of the plugin "+p.Name+" cannot be used:", p.Host, err.Error())
		}
	case "http":
		url := p.URL
		if !strings.Contains(url, "://") {
			url = "http://" + url
		}
		if err := checkWebURL(url); err != nil && p.URL != "" {
			r.add(Error, p.Place, "url of the plugin http cannot be used:", redact(p.URL), err.Error())
		}
	}
	told := func(s Source) bool { return holds(s.Path, p.Path) || holds(p.Path, s.Path) }
	if p.Path != "" && !slices.ContainsFunc(c.Sources, told) {
		r.add(Warning, p.Place, "the plugin "+p.Name+" is told of nothing, as its directory is in no source:", p.Path,
			"name the directory of a source, or one in it")
	}
}

// holds reports whether the directory is name or above it, both absolute, by their names alone.
func holds(dir, name string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// checkHookFiles finds what this machine lacks for the hooks of a source.
func (r *report) checkHookFiles(s Source) {
	for _, h := range s.hooks() {
		switch {
		case h.Run != nil && len(h.Run.Argv) > 0:
			r.checkProgram(h.Place, h.Run.Argv[0])
		case h.Post != nil:
			r.checkSecret(s, h.Place, secret{"url_file of the hook", h.Post.URLFile, "the URL", "sersync", 0o066})
			r.checkSecret(s, h.Place, secret{"headers_file of the hook", h.Post.HeadersFile, "lines Name: value", "sersync", 0o066})
			r.checkSecret(s, h.Place, secret{"hmac_file of the hook", h.Post.HMACFile, "the key", "sersync", 0o066})
		case h.Plugin != nil:
			r.checkSecret(s, h.Place, secret{"password_file of the plugin", h.Plugin.PasswordFile, "the password", "sersync", 0o066})
		}
	}
}

// checkProgram refuses what cannot be started, or what somebody else could make root start.
func (r *report) checkProgram(place Place, name string) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.add(Error, place, "program of the hook does not exist:", name, "install it, or correct the path")
	case err != nil:
		r.add(Error, place, "program of the hook cannot be looked at:", name, reason(err))
	case !info.Mode().IsRegular():
		r.add(Error, place, "program of the hook is no file:", name, "name the program itself")
	case info.Mode().Perm()&0o111 == 0:
		r.add(Error, place, "program of the hook cannot be executed:", name, "chmod +x "+name)
	case os.Geteuid() == 0 && info.Mode().Perm()&0o022 != 0:
		r.add(Error, place, "others than its owner can write the program of the hook, and we are root:", name, "chmod go-w "+name)
	}
}

// checkPluginMachine says what is wrong with what the started plugins of a confxml.xml find here. They did not keep
// sersync 2.5.4 from replicating.
func (r *report) checkPluginMachine(c *Config) {
	seen := make(map[Place]bool)
	for i := range c.Sources {
		for _, h := range c.Sources[i].hooks() {
			p := h.Plugin
			if p == nil || seen[p.Place] {
				continue
			}
			seen[p.Place] = true
			r.checkCommand(*p)
			if info, err := os.Stat(c.File); p.Name == "refreshCDN" && p.Start && err == nil && info.Mode().Perm()&0o044 != 0 {
				r.add(Warning, p.Place, "others can read the password of the plugin refreshCDN in this file", "", "chmod 600 "+c.File)
			}
		}
	}
}

// checkCommand looks for the program of a command, when it is named by its path. What else a shell would make of it is not known.
func (r *report) checkCommand(p Plugin) {
	words, err := splitWords(p.Prefix)
	if err != nil || len(words) == 0 || !filepath.IsAbs(words[0]) {
		return
	}
	if _, err := exec.LookPath(words[0]); err != nil {
		r.add(Warning, p.Place, "program of the plugin command cannot be executed:", words[0], "install it, or correct prefix")
	}
}
