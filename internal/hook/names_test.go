package hook

import "strings"

// hostile are names that something would trip over that takes a path for text, for a command, or for a part of a request.
func hostile() []string {
	return []string{
		"a\nb", "a b", `a"b`, "a'b", "$(touch ran)", "`touch ran`", "; touch ran", "| touch ran", "&& touch ran", "* ? [a-z]",
		"a\r\nX: y", "a\r\n\r\nGET / HTTP/1.0", "?urls=x&dirs=y#z", "%0d%0aX:y", "a+b=c&d;e,f", "..%2f", "-rf", "--help",
		strings.Repeat("n", 255), "\xff\xfe\x80", "\x01\x1b[31m\x7f", "你好", `\`, "~", "!", "#", "{{.Source}}", "$1 ${path} $path",
	}
}
