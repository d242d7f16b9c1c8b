package doctor

import (
	"os"
	"slices"
	"syscall"

	"sersync/internal/config"
)

// passwords looks at password files, and says nothing of what is in them.
func (e *examination) passwords() Part {
	p := Part{Kind: "passwords"}
	var told []string
	for _, name := range e.passwordFiles() {
		refused := false
		for _, problem := range e.Problems {
			text := problem.String()
			if problem.Value == name && !slices.Contains(told, text) {
				told = append(told, text)
				p.problem("password_file", problem)
				refused = refused || problem.Severity == config.Error
			}
		}
		if refused {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			continue // it has just gone
		}
		mode, owner := info.Mode().Perm(), info.Sys().(*syscall.Stat_t).Uid
		if mode&0o070 != 0 {
			p.add(Warning, "password_file", "chmod 600 "+quote(name), "%s has the mode %04o: its group can read it", quote(name), mode)
		} else {
			p.ok("password_file", "%s has the mode %04o, and belongs to the user %d", quote(name), mode, owner)
		}
	}
	return p
}

// passwordFiles are those of all targets, each once.
func (e *examination) passwordFiles() []string {
	var all []string
	for _, s := range e.Config.Sources {
		for _, t := range s.Targets {
			if t.PasswordFile != "" && !slices.Contains(all, t.PasswordFile) {
				all = append(all, t.PasswordFile)
			}
		}
	}
	return all
}
