package rsync

import (
	"context"
	"fmt"
	"os/exec"
)

// Program is an rsync of this machine.
type Program struct {
	Path, Version string
	// Lacks is what it is too old for, each one sentence.
	Lacks []string
}

// Installed is the rsync that targets are reached by.
func Installed(ctx context.Context) (Program, error) {
	path, err := exec.LookPath("rsync")
	if err != nil {
		return Program{}, startError(err)
	}
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{"LC_ALL=C"}
	cmd.WaitDelay = killAfter
	out, err := cmd.Output()
	if err != nil {
		return Program{Path: path}, fmt.Errorf("ask %q for its version: %w", path, err)
	}
	p := Program{Path: path, Version: versionOf(string(out))}
	p.Lacks = lacks(p.Version)
	return p, nil
}

// lacks is what an rsync of this version cannot do.
func lacks(version string) []string {
	var all []string
	if older(version, 3, 1, 0) {
		all = append(all, "it cannot remove single paths on a target")
	}
	if older(version, 3, 1, 3) {
		all = append(all, "changes are compared by content, times may differ within a second, and sweeps miss a rewrite of the same size within one")
	}
	return all
}
