package config

import (
	"errors"
	"fmt"
	"mime"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sersync/internal/hook"
)

var hookName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`) })

func checkHookName(s string) error {
	if !hookName().MatchString(s) {
		return errors.New("use letters, digits, -, _ and ., at most 64 of them")
	}
	return nil
}

func checkAbsolute(s string) error {
	if !filepath.IsAbs(s) || strings.IndexByte(s, 0) >= 0 {
		return errors.New("write an absolute path")
	}
	return nil
}

func checkArgv(argv []string) error {
	switch {
	case len(argv) == 0:
		return errors.New("name the program: run: [/usr/local/bin/PROGRAM]")
	case !filepath.IsAbs(argv[0]):
		return errors.New("write the absolute path of the program, and each argument as a word of its own: there is no shell")
	case strings.Contains(strings.Join(argv, ""), "\x00"):
		return errors.New("it holds a zero byte")
	}
	return nil
}

// checkWebURL says why a URL cannot be asked. The error never holds it, as it may be a secret.
func checkWebURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil && strings.Contains(s, "://"), strings.ContainsFunc(s, isControl):
		return errors.New("it is no URL: write https://HOST/PATH")
	case err != nil || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("write http:// or https:// in front")
	case u.Hostname() == "":
		return errors.New("it names no host: write https://HOST/PATH")
	case u.Fragment != "":
		return errors.New("what is behind a # is never sent: remove it")
	case u.User != nil:
		return errors.New("a password in a URL can be read by everybody: write a line Authorization: into headers_file, or use url_file")
	}
	return nil
}

func checkVia(s string) error {
	if err := checkWebURL(s); err != nil {
		return err
	}
	if u, err := url.Parse(s); err != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("it says only where to connect to: http://HOST:PORT")
	}
	return nil
}

func checkMethod(s string) error {
	if s == "" || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return errors.New("write a method of HTTP in capitals, as PURGE, BAN or DELETE")
	}
	return nil
}

func checkBody(s string) error {
	if err := hook.CheckBody(s); err != nil {
		return fmt.Errorf("it is no template of Go for an event: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
	return nil
}

func checkContentType(s string) error {
	if _, _, err := mime.ParseMediaType(s); err != nil || !strings.Contains(s, "/") {
		return errors.New("write it as text/plain; charset=utf-8")
	}
	return nil
}

func checkExpect(s string) error {
	if _, err := regexp.Compile(s); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: ") + "; the syntax is that of RE2")
	}
	return nil
}

// checkHookURL says what is wrong with a rule for URLs, and where.
func checkHookURL(u HookURL) (what, value string, err error) {
	if _, err := regexp.Compile(u.Match); err != nil {
		return "match does not compile:", u.Match, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: ") + "; the syntax is that of RE2")
	}
	if u.URL == "" {
		return "an entry of urls has no url", "", errors.New("write url: https://HOST/$path")
	}
	if _, err := hook.NewURLs(hook.URLRule(u)); err != nil {
		return "url cannot be used:", redact(u.URL), errors.Unwrap(err)
	}
	return "", "", nil
}

// interpreter matches programs that run the file that they are given.
var interpreter = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(sh|bash|dash|ash|zsh|ksh|mksh|csh|tcsh|fish|(python|perl|php|ruby|lua|tclsh|node)[0-9.]*|nodejs|expect|env|nice|nohup|setsid|sudo)$`)
})

// executes says what a command makes of a path behind it that it should not; empty when nothing is known against it. The path
// is one word of a shell, which is not parsed.
func executes(prefix string) string {
	words, err := splitWords(prefix)
	switch {
	case err != nil:
	case len(words) == 0, len(words) == 1 && interpreter().MatchString(filepath.Base(words[0])):
		return "execute each file that arrives"
	case words[len(words)-1] == "-c", slices.Contains([]string{"eval", "ssh", "su"}, filepath.Base(words[0])):
		return "execute the name of each file that arrives"
	}
	return ""
}
