package cli

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// listen http|socket NAME: listens on a port of its own, PORT_NAME, and writes what comes to the file NAME, quoted, one line a
// request or a connection.
func listen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: listen http|socket NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	file, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	var one sync.Mutex
	write := func(came string) {
		one.Lock()
		defer one.Unlock()
		fmt.Fprintf(file, "%q\n", came)
	}
	ended := make(chan struct{})
	ts.Defer(func() {
		l.Close()
		<-ended
		one.Lock()
		defer one.Unlock()
		file.Close()
	})
	ts.Setenv("PORT_"+args[1], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	serve := map[string]func(){
		"http": func() {
			_ = http.Serve(l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				write(r.Method + " " + r.URL.String() + " " + string(body))
			}))
		},
		"socket": func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				came, _ := io.ReadAll(conn)
				conn.Close()
				write(string(came))
			}
		},
	}[args[0]]
	go func() {
		defer close(ended)
		serve()
	}()
}

// agree LOG DIRECTORY: some time soon events in LOG, one a line, have told last of each path that is in DIRECTORY that it is
// there, and of every other path that it is not.
func agree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: agree LOG DIRECTORY")
	}
	var differs string
	defer func() {
		if differs != "" {
			ts.Logf("%s", differs)
		}
	}()
	poll(ts, strings.Join(args, " agrees with "), func() bool {
		differs = disagreement(ts, ts.MkAbs(args[0]), ts.MkAbs(args[1]))
		return differs == ""
	})
}

// disagreement says in what the last that was told of paths differs from what is there; nothing when in nothing.
func disagreement(ts *testscript.TestScript, log, dir string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	told := map[string]string{}
	for line := range strings.Lines(string(text)) {
		var event struct {
			Paths []struct {
				Path   string `json:"path"`
				Base64 string `json:"path_base64"`
				What   string `json:"what"`
			} `json:"paths"`
		}
		if json.Unmarshal([]byte(line), &event) != nil {
			continue // a call that was killed
		}
		for _, p := range event.Paths {
			if raw, err := base64.StdEncoding.DecodeString(p.Base64); err == nil && p.Base64 != "" {
				p.Path = string(raw)
			}
			told[p.Path] = p.What
		}
	}
	var differs []string
	ts.Check(filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if name == dir || err != nil {
			return err
		}
		p, err := filepath.Rel(dir, name)
		if told[p] != "updated" {
			differs = append(differs, fmt.Sprintf("%q is there, and was told %q", p, told[p]))
		}
		delete(told, p)
		return err
	}))
	delete(told, "") // it is always there
	for p, what := range told {
		if what != "removed" {
			differs = append(differs, fmt.Sprintf("%q is not there, and was told %q", p, what))
		}
	}
	return strings.Join(differs, "\n")
}
