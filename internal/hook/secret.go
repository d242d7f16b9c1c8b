package hook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSecret bounds a file that holds a secret.
const maxSecret = 64 << 10

// ReadSecret reads a file that nobody but its owner may read. It is read whenever it is needed, so that it can be changed at any
// time. No error says anything of what is in it.
func ReadSecret(name string) ([]byte, error) {
	// Without O_NONBLOCK a pipe in its place would hang the open.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("look at file %q: %w", name, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("file %q is no regular file", name)
	case st.Mode&0o066 != 0:
		return nil, fmt.Errorf("file %q holds a secret, and others can read or write it: chmod 600", name)
	case os.Geteuid() == 0 && st.Uid != 0:
		return nil, fmt.Errorf("file %q holds a secret, and is not owned by root: chown root", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxSecret:
		return nil, fmt.Errorf("file %q is longer than %d bytes", name, maxSecret)
	case strings.TrimSpace(string(b)) == "":
		return nil, fmt.Errorf("file %q is empty", name)
	}
	return b, nil
}

// readHeaders reads a file of lines "Name: value".
func readHeaders(name string) (http.Header, error) {
	b, err := ReadSecret(name)
	if err != nil {
		return nil, err
	}
	headers := make(http.Header)
	number := 0
	for text := range strings.Lines(string(b)) {
		number++
		text = strings.TrimRight(text, "\r\n")
		if strings.TrimSpace(text) == "" {
			continue
		}
		key, value, ok := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		if !ok || !isToken(key) || !isHeaderValue(value) {
			return nil, fmt.Errorf(`line %d of file %q is no "Name: value"`, number, name)
		}
		switch key = http.CanonicalHeaderKey(key); key {
		case "Connection", "Content-Length", "Trailer", "Transfer-Encoding", "Upgrade":
			return nil, fmt.Errorf("line %d of file %q: %s is not for a hook to say", number, name, key)
		}
		headers.Add(key, value)
	}
	return headers, nil
}

// parseEndpoint reads the URL of somebody who is told. It may be a secret, so that no error says anything of it.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it does not begin with http:// or https://")
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	case u.Fragment != "":
		return nil, errors.New("what is behind a # is never sent")
	}
	return u, nil
}

// shown is what errors say of a URL.
func shown(u *url.URL) string { return u.Scheme + "://" + u.Host }

// secretsOf are the parts of a request that nobody is to read in an error, even where the other side repeats them. What is very
// short is left out: it is no secret, and its like is in any text.
func secretsOf(u *url.URL, headers http.Header) []string {
	all := []string{u.RequestURI(), u.Path, u.RawQuery}
	if u.User != nil {
		password, _ := u.User.Password()
		all = append(all, u.User.String(), u.User.Username(), password)
	}
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		if len(part) >= 8 {
			all = append(all, part)
		}
	}
	for _, values := range u.Query() {
		all = append(all, values...)
	}
	for name, values := range headers {
		if name == "Content-Type" || name == "User-Agent" {
			continue
		}
		for _, value := range values {
			all = append(all, value)
			all = append(all, strings.Fields(value)...)
		}
	}
	return all
}

// redact is s without the secrets.
func redact(s string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) >= 4 {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	return s
}
