package convert

import (
	"path/filepath"
	"slices"

	"sersync/internal/config"
)

// fromXML carries over a confxml.xml. Its meaning is that which sersync gives it; the notes are what `check` says, and
// what has no effect.
func fromXML(file string, data []byte, dir string) (Result, error) {
	c, notes, err := config.Account(file, data)
	if err != nil {
		return Result{Notes: notes}, err
	}
	c.PidFile = ""
	notes = append(notes, withoutPasswords(c)...)
	notes = append(notes, absolute(c, dir)...)
	slices.SortStableFunc(notes, func(a, b config.Problem) int { return a.Place.Line - b.Place.Line })
	text, err := write(file, c, notes)
	return Result{YAML: text, Notes: notes}, err
}

// absolute makes paths absolute that 2.5.4 took from where it was started.
func absolute(c *config.Config, dir string) []config.Problem {
	var notes []config.Problem
	mend := func(place config.Place, path *string) {
		if *path == "" || filepath.IsAbs(*path) {
			return
		}
		full := filepath.Join(dir, *path)
		notes = append(notes, config.Problem{
			Severity: config.Warning, Place: place, What: "a relative path is written as " + full + ":", Value: *path, Remedy: "it would start where sersync is started",
		})
		*path = full
	}
	mend(config.Place{File: c.File}, &c.FailLog.Path)
	for i := range c.Sources {
		for j := range c.Sources[i].Targets {
			t := &c.Sources[i].Targets[j]
			mend(t.Place, &t.PasswordFile)
		}
	}
	return notes
}

// passwordOfCDN is where the password of refreshCDN is to be, which the XML holds itself.
const passwordOfCDN = "/etc/sersync/refreshCDN.password"

// withoutPasswords names a file for each password that the YAML will not hold.
func withoutPasswords(c *config.Config) []config.Problem {
	var notes []config.Problem
	for i := range c.Sources {
		for j := range c.Sources[i].Hooks {
			p := c.Sources[i].Hooks[j].Plugin
			if p.Name != "refreshCDN" {
				continue
			}
			if p.PasswordFile = passwordOfCDN; i == 0 {
				notes = append(notes, config.Problem{
					Severity: config.Warning, Place: p.Place, What: "not carried over: the password of refreshCDN, which is looked for in",
					Value: passwordOfCDN, Remedy: "write the password alone into that file, then chmod 600",
				})
			}
		}
	}
	return notes
}
