package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ending says how a worker ended, from a closed list.
type ending string

const (
	fine    ending = "fine"
	failed  ending = "error"
	panicks ending = "panic"
	fault   ending = "fault" // SIGBUS or SIGSEGV, or what Go makes of them
	fatal   ending = "exit"  // the store ended the process
	hung    ending = "hang"
)

// errorMark begins the line of an error that the store returned.
const errorMark = "worker: "

// fatalMark begins the line of an error with which the store ended the process.
const fatalMark = "Fatalf: "

func command(ctx context.Context, job string, c contestant, dir string, dirs int) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, self, "worker", job, c.name, dir, strconv.Itoa(dirs)), nil
}

// try runs one job and says how it ended, and with what last words.
func try(ctx context.Context, limit time.Duration, job string, c contestant, dir string, dirs int) (r results, how ending, words string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd, err := command(ctx, job, c, dir, dirs)
	if err != nil {
		return r, "", "", err
	}
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	err = cmd.Run()
	words = lastWords(says.String())
	var exit *exec.ExitError
	switch text := says.String(); {
	case err == nil:
		return r, fine, "", json.Unmarshal(out.Bytes(), &r)
	case ctx.Err() != nil:
		return r, hung, words, nil
	case !errors.As(err, &exit):
		return r, "", "", err
	case strings.Contains(text, "unexpected fault address"), strings.Contains(text, "SIGBUS"), strings.Contains(text, "SIGSEGV"), exit.ExitCode() < 0:
		return r, fault, words, nil
	case strings.Contains(text, "panic: "), strings.Contains(text, "fatal error: "):
		return r, panicks, words, nil
	case strings.Contains(text, errorMark):
		return r, failed, words, nil
	}
	return r, fatal, words, nil
}

// lastWords is the line that says why a worker ended, or else the first.
func lastWords(text string) string {
	for _, mark := range []string{errorMark, fatalMark} {
		if _, rest, found := strings.Cut(text, mark); found {
			text = rest
			break
		}
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// must runs a job that has to end well.
func must(ctx context.Context, job string, c contestant, dir string, dirs int) (results, error) {
	r, how, words, err := try(ctx, 10*time.Minute, job, c, dir, dirs)
	if err == nil && how != fine {
		err = fmt.Errorf("%s %s: %s: %s", job, c.name, how, words)
	}
	return r, err
}

// short is an error as it fits into a cell, without the directory.
func short(text, dir string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, dir+"/", ""), "|", "/")
	if len(text) > 100 {
		return text[:100] + "…"
	}
	return text
}
