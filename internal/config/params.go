package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sersync/internal/filter"
)

// params reads options of rsync into a target.
type params struct {
	r    *report
	line int
	t    *settings
	// exclude takes an --exclude that is common to all targets of its sources; nil where there is no such place.
	exclude func(pattern string)
}

// parseParams reads the text of commonParams, params or rsync_options, in place of those that t has. What they mean to rsync is told
// when the target is known.
func parseParams(r *report, line int, text string, t *settings, exclude func(string)) {
	t.Params, t.paramsLine, t.ofRsync = nil, line, nil
	words, err := splitWords(text)
	if err != nil {
		r.fail(line, "cannot read rsync options", text, err.Error())
		return
	}
	p := params{r: r, line: line, t: t, exclude: exclude}
	for i := 0; i < len(words); i++ {
		word := words[i]
		next := func() (string, bool) {
			if i+1 == len(words) {
				return "", false
			}
			i++
			return words[i], true
		}
		switch {
		case strings.HasPrefix(word, "--") && word != "--":
			p.long(word, next)
		case strings.HasPrefix(word, "-") && len(word) > 1 && word != "--":
			p.bundle(word, next)
		default:
			r.fail(line, "not an option of rsync:", word, "options begin with - or --; sources and targets stand in elements of their own")
		}
	}
	t.missing(r.at(line))
}

// long reads --NAME or --NAME=VALUE; next is the word behind it.
func (p *params) long(word string, next func() (string, bool)) {
	name, value, hasValue := strings.Cut(word[2:], "=")
	if rest, ok := strings.CutPrefix(name, "no-"); ok && !hasValue {
		if o := find(negations, func(o *option) bool { return o.long == rest }); o != nil {
			p.apply(o, word, "")
			return
		}
	}
	o := find(options, func(o *option) bool { return o.long == name && name != "" })
	switch {
	case o == nil:
		p.r.fail(p.line, "unknown option of rsync", word, didYouMeanOption("--"+name))
	case o.verdict == refuse:
		p.apply(o, "--"+name, "")
		if o.value && !hasValue {
			next()
		}
	case hasValue && !o.value:
		p.r.fail(p.line, "this option of rsync takes no value:", word, "write --"+name)
	case o.value && !hasValue:
		if value, hasValue = next(); !hasValue {
			p.r.fail(p.line, "this option of rsync needs a value:", word, "write "+word+"=VALUE")
			return
		}
		fallthrough
	default:
		p.apply(o, "--"+name, value)
	}
}

// bundle reads -abc; the last one may take a value, from the rest of the word or from the next one.
func (p *params) bundle(word string, next func() (string, bool)) {
	for i := 1; i < len(word); i++ {
		o := find(options, func(o *option) bool { return o.short == word[i] })
		flag := "-" + word[i:i+1]
		switch {
		case o == nil:
			p.r.fail(p.line, "unknown option of rsync", flag, fmt.Sprintf("remove it from %q", word))
			continue
		case !o.value:
			p.apply(o, flag, "")
			continue
		}
		value, ok := strings.TrimPrefix(word[i+1:], "="), true
		if i+1 == len(word) {
			value, ok = next()
		}
		if !ok {
			p.r.fail(p.line, "this option of rsync needs a value:", flag, "write "+flag+" VALUE")
			return
		}
		p.apply(o, flag, value)
		return
	}
}

func find(table []option, is func(*option) bool) *option {
	for i := range table {
		if is(&table[i]) {
			return &table[i]
		}
	}
	return nil
}

func didYouMeanOption(wrong string) string {
	var names []string
	for _, o := range options {
		if o.long != "" {
			names = append(names, "--"+o.long)
		}
	}
	if n := nearest(wrong, names); n != "" {
		return "did you mean " + n + "?"
	}
	return "rsync has no such option"
}

// apply does with one option what the table says.
func (p *params) apply(o *option, written, value string) {
	full := written
	if o.value && o.verdict != refuse {
		if o.long != "" {
			full = "--" + o.long
		}
		full += "=" + value
	}
	switch o.verdict {
	case refuse:
		p.r.fail(p.line, "refused option of rsync", written, o.why)
		return
	case drop:
		p.r.unused(p.line, "an option of rsync that is not needed:", written, o.why)
		return
	case mapped:
		if err := p.set(o.long, value); err != nil {
			p.r.fail(p.line, "refused option of rsync", written+" "+value, err.Error())
		}
		return
	case weaken:
		p.t.tell(Warning, p.r.at(p.line), "this option of rsync weakens a promise:", full, o.why)
	}
	if o.long == "update" {
		p.t.tell(Notice, p.r.at(p.line), "-u binds sweeps only", "", "a live change is sent whatever the time of the file on the target")
	}
	if o.short != 0 && !o.value {
		full = "-" + string(o.short)
	}
	p.t.Params = append(p.t.Params, full)
}

// set makes a setting of the target of an option.
func (p *params) set(long, value string) error {
	var err error
	switch long {
	case "timeout":
		p.t.Timeout, err = parseSeconds(value)
	case "contimeout":
		p.t.ConnectTimeout, err = parseSeconds(value)
	case "bwlimit":
		if p.t.Bandwidth, err = parseRsyncRate(value); err != nil {
			err = errSize
		}
	case "port":
		p.t.port, err = parseInt(value, 1, 65535)
	case "rsh":
		err = p.rsh(value)
	case "exclude":
		err = p.excludePattern(value)
	case "remote-option":
		if value != "--fake-super" {
			return fmt.Errorf("only --fake-super may be sent to the other side")
		}
		p.t.Params = append(p.t.Params, "--remote-option=--fake-super")
	}
	return err
}

// parseSeconds reads whole seconds up to a day.
func parseSeconds(s string) (time.Duration, error) {
	n, err := parseInt(s, 1, 86400)
	return time.Duration(n) * time.Second, err
}

// rsh reads "ssh -p 2222 -i KEY -o OPTION".
func (p *params) rsh(command string) error {
	words, err := splitWords(command)
	if err != nil {
		return err
	}
	if len(words) == 0 || filepath.Base(words[0]) != "ssh" {
		return fmt.Errorf("only ssh and its options may start the other side")
	}
	p.t.rsh = true
	return sshWords(words[1:], p.t)
}

// sshWords reads options of ssh: port and key into their settings, the others as they are.
func sshWords(words []string, t *settings) error {
	for i := 0; i < len(words); i++ {
		word := words[i]
		if len(word) < 2 || word[0] != '-' {
			return fmt.Errorf("%q is no option of ssh", word)
		}
		letter, value := word[1], word[2:]
		if strings.IndexByte("fGNVs", letter) >= 0 {
			return fmt.Errorf("with the option %s ssh would not start rsync", word)
		}
		if strings.IndexByte("BbcDEeFIiJLlmOoPpQRSWw", letter) < 0 {
			t.SSHOptions = append(t.SSHOptions, word)
			continue
		}
		if value == "" {
			if i++; i == len(words) {
				return fmt.Errorf("the option %s of ssh needs a value", word)
			}
			value = words[i]
		}
		switch letter {
		case 'p':
			port, err := parseInt(value, 1, 65535)
			if err != nil {
				return fmt.Errorf("the port of ssh: %w", err)
			}
			t.sshPort = port
		case 'i':
			t.SSHKey = value
		default:
			t.SSHOptions = append(t.SSHOptions, "-"+string(letter), value)
		}
	}
	return nil
}

// excludePattern makes a rule of sersync's own filter of a pattern of rsync that means the same there.
func (p *params) excludePattern(pattern string) error {
	if p.exclude == nil {
		return fmt.Errorf("%s", whyFilter)
	}
	glob, err := GlobOfRsync(pattern)
	if err == nil {
		err = filter.CheckGlob(glob)
	}
	if err != nil {
		return err
	}
	p.exclude(glob)
	p.r.notice(p.line, "an exclude among the options of rsync is a filter now:", pattern,
		"it holds for all targets, and what it matches is never removed there")
	return nil
}

// GlobOfRsync turns a pattern of rsync into a glob of ours that means the same.
func GlobOfRsync(pattern string) (string, error) {
	body := strings.TrimSuffix(strings.TrimSuffix(pattern, "***"), "/")
	switch {
	case strings.HasPrefix(pattern, "- "), strings.HasPrefix(pattern, "+ "), pattern == "!", body == "":
		return "", fmt.Errorf("%s", whyFilter)
	case strings.Contains(pattern, "[["), strings.Contains(strings.TrimSuffix(pattern, "/***"), "***"):
		return "", fmt.Errorf("%s", whyFilter)
	}
	for element := range strings.SplitSeq(body, "/") {
		if element != "**" && strings.Contains(element, "**") {
			return "", fmt.Errorf("%s", whyFilter)
		}
	}
	glob := strings.TrimSuffix(pattern, "***")
	if !strings.HasPrefix(glob, "/") && !strings.HasPrefix(glob, "**/") && strings.Contains(strings.TrimSuffix(glob, "/"), "/") {
		glob = "**/" + glob // rsync compares it with the end of the path
	}
	if strings.HasPrefix(glob, "!") {
		glob = `\` + glob
	}
	return glob, nil
}

// missing warns of what -a has and the options have not.
func (s *settings) missing(at Place) {
	has := func(flag string) bool { return slices.Contains(s.Params, flag) }
	if has("-a") {
		return
	}
	parts := []struct{ flag, what string }{
		{"-l", "symlinks"}, {"-p", "modes"}, {"-t", "times"}, {"-g", "groups"}, {"-o", "owners"}, {"-D", "devices, pipes and sockets"},
	}
	var lacks []string
	for _, part := range parts {
		if !has(part.flag) && !(part.flag == "-D" && has("--devices") && has("--specials")) {
			lacks = append(lacks, part.what)
		}
	}
	if len(lacks) > 0 {
		s.tell(Warning, at, "the options of rsync lack -a:", strings.Join(s.Params, " "), "not replicated are "+strings.Join(lacks, ", "))
	}
}
