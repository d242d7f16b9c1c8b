package daemon

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/replicate"
	"sersync/internal/transport"
)

// failHead is what a fail log with anything in it begins with.
const failHead = "# What is not on its targets yet because it failed. sersync tries it again by itself, takes out what arrived,\n" +
	"# and never runs this file. A person may run each line.\n\n"

// failLines writes what one target lacks, in the form of 2.5.4: a comment that begins with #errno, the command, an empty
// line. removal is how what is gone is removed there.
func failLines(out *bytes.Buffer, s config.Source, t config.Target, f replicate.Failing, removal transport.Op) {
	for _, p := range f.Paths {
		fmt.Fprintf(out, "#errno %s\n", strconv.QuoteToASCII(p.Err))
		if p.Path == change.Root {
			fmt.Fprintf(out, "# all of %s is to be compared with %s\n\n", strconv.QuoteToASCII(s.Path), strconv.QuoteToASCII(t.URL()))
			continue
		}
		op := transport.Update
		if p.Gone {
			op = removal
		}
		out.WriteString(failCommand(s, t, op, p.Path))
		out.WriteString("\n\n")
	}
	if f.More > 0 {
		fmt.Fprintf(out, "# and %d more for %s\n\n", f.More, strconv.QuoteToASCII(t.URL()))
	}
}

// failCommand is one line for sh, whatever the name: a name that is not plain text goes to rsync by its standard input.
func failCommand(s config.Source, t config.Target, op transport.Op, p change.Path) string {
	list := !printable(string(p))
	words := rsyncOptions(t, slog.New(slog.DiscardHandler)).ByHand(op, p, list)
	for i, w := range words {
		words[i] = shellWord(w)
	}
	dir := s.Path
	if !printable(dir) {
		dir += "/." // a command substitution takes newlines away at the end of what it puts in
	}
	line := "cd " + shellWord(dir) + " && "
	if list {
		line += "printf " + shellFormat("./"+string(p)+"\x00") + " | "
	}
	return line + strings.Join(words, " ")
}

// shellWord is one word of a line for sh. It holds no newline and no control character. One at the very end of a
// text that is not printable is lost.
func shellWord(text string) string {
	switch {
	case text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+") == "":
		return text
	case printable(text):
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return `"$(printf ` + shellFormat(text) + `)"`
}

// shellFormat is the format by which printf writes the text, in quotes.
func shellFormat(text string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '%':
			b.WriteString("%%")
		case c < ' ' || c > '~' || c == '\\' || c == '\'':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// printable reports whether text is what it looks like.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}
