package torture

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// child is a process that another one started.
type child struct {
	pid int
	// began tells it from a later one of that number.
	began string
	args  []string
}

// is reports whether its arguments hold a word.
func (c child) is(word string) bool { return slices.Contains(c.args, word) }

// stat are the fields of a process behind its name: state, parent, group and so on; nil when it is gone.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// pid (name) state ppid pgrp: the name may hold anything, the last bracket ends it.
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// Where fields are in stat.
const (
	statState, statParent, statGroup, statBegan = 0, 1, 2, 19
)

// living are the processes whose field has that value.
func living(field, value int) (all []child) {
	names, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(name))
		f := stat(pid)
		if len(f) <= statBegan || f[statState] == "Z" || f[field] != strconv.Itoa(value) {
			continue
		}
		args, _ := os.ReadFile(name + "/cmdline") // of one that has gone there are none
		all = append(all, child{pid, f[statBegan], strings.Split(string(args), "\x00")})
	}
	return all
}

// childrenOf are the living processes that a process started.
func childrenOf(pid int) []child { return living(statParent, pid) }

// awaitGone waits until processes are gone whose parent is.
func awaitGone(all []child) error {
	return poll(context.Background(), patience, fmt.Sprintf("the end of what a receiver started: %v", all), func() (bool, error) {
		return !slices.ContainsFunc(all, func(c child) bool {
			f := stat(c.pid)
			return len(f) > statBegan && f[statBegan] == c.began && f[statState] != "Z"
		}), nil
	})
}
