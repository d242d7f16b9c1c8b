//go:build php

// It needs PHP with opcache: make test-php installs it and runs this.

package docs

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sersync/internal/change"
	"sersync/internal/config"
	"sersync/internal/daemon"
	"sersync/internal/hook"
)

// phpSite is a web server of PHP that never looks again at a script that it has compiled.
type phpSite struct {
	root, outside, url string
}

// cachedPHP compiles a script, or says whether it is compiled.
const cachedPHP = `<?php
if (isset($_GET['load'])) { include $_GET['load']; return; }
echo opcache_is_script_cached($_GET['is']) ? 'yes' : 'no';
`

func startPHP(t *testing.T) phpSite {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := phpSite{root: filepath.Join(dir, "site"), outside: filepath.Join(dir, "site-outside")}
	for _, d := range []string{s.root, s.outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("hooks/opcache.php")
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"'/var/www/html'": "'" + s.root + "'", "'/etc/sersync-opcache.secret'": "'" + dir + "/secret'"} {
		if bytes.Count(script, []byte(from)) != 1 {
			t.Fatalf("opcache.php does not say %s", from)
		}
		script = bytes.ReplaceAll(script, []byte(from), []byte(to))
	}
	s.write(t, filepath.Join(s.root, "opcache.php"), string(script))
	s.write(t, filepath.Join(s.root, "cached.php"), cachedPHP)
	s.write(t, filepath.Join(dir, "secret"), "hunter2\n")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var said bytes.Buffer
	php := exec.Command("php", "-n", "-d", "zend_extension=opcache", "-d", "opcache.enable_cli=1", "-d", "opcache.validate_timestamps=0",
		"-d", "opcache.file_update_protection=0", "-d", "display_errors=0", "-d", "log_errors=1", "-S", address, "-t", s.root)
	php.Stdout, php.Stderr, php.WaitDelay = &said, &said, time.Second
	if err := php.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = php.Process.Kill()
		_ = php.Wait()
		if text := said.String(); t.Failed() || strings.Contains(text, "PHP Warning") || strings.Contains(text, "PHP Fatal") {
			t.Errorf("php said:\n%s", text)
		}
	})
	s.url = "http://" + address
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("php does not listen: %v", err)
		}
	}
}

func (s phpSite) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s phpSite) get(t *testing.T, query string) string {
	t.Helper()
	reply, err := http.Get(s.url + "/cached.php?" + query)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (s phpSite) load(t *testing.T, file string) string {
	t.Helper()
	return s.get(t, "load="+url.QueryEscape(file))
}

func (s phpSite) cached(t *testing.T, file string) bool {
	t.Helper()
	return s.get(t, "is="+url.QueryEscape(file)) == "yes"
}

// What the hook names is compiled again, and nothing else is, above all nothing outside of the site.
func TestOpcacheForgetsWhatTheHookNames(t *testing.T) {
	s := startPHP(t)
	if err := os.Symlink(s.outside, filepath.Join(s.root, "out")); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(s.root, name) }
	names := []string{"a.php", "中文/a.php", "-n \"$(id)\"\n'.php", "x\xff.php", "..php\n", "gone.php", "d/a.php", "d/e/b.php", "d2/c.php", "kept.php"}
	for _, name := range names {
		s.write(t, in(name), "<?php echo 'one';")
	}
	x := filepath.Join(s.outside, "x.php")
	s.write(t, x, "<?php echo 'one';")
	for _, file := range append([]string{x}, files(s.root, names)...) {
		if got := s.load(t, file); got != "one" || !s.cached(t, file) {
			t.Fatalf("%q gives %q, cached: %v", file, got, s.cached(t, file))
		}
		s.write(t, file, "<?php echo 'two';")
	}
	for _, name := range []string{"gone.php", "d"} {
		if err := os.RemoveAll(in(name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.load(t, in("a.php")); got != "one" {
		t.Fatalf("the cache gives %q, and proves nothing", got)
	}

	built, err := daemon.NewHook(recipeHook(t, s, "hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []hook.Path
	for _, name := range names[:5] {
		paths = append(paths, hook.Path{Path: change.Path(name), What: hook.Updated})
	}
	paths = append(paths, hook.Path{Path: "gone.php", What: hook.Removed}, hook.Path{Path: "d", What: hook.Removed, Dir: true},
		hook.Path{Path: "", What: hook.Updated, Dir: true}, hook.Path{Path: "d2", What: hook.Updated, Dir: true},
		hook.Path{Path: "out/x.php", What: hook.Updated}, hook.Path{Path: "out", What: hook.Many, Dir: true},
		hook.Path{Path: "../site-outside/x.php", What: hook.Updated}, hook.Path{Path: "../site-outside", What: hook.Removed, Dir: true},
		hook.Path{Path: change.Path(x), What: hook.Updated}, hook.Path{Path: "a\x00b", What: hook.Updated})
	event := hook.Event{ID: "1", Hook: "opcache", On: hook.Acked, Source: "www", Root: "/data/www", Time: when, Paths: paths}

	forged, err := daemon.NewHook(recipeHook(t, s, "another"))
	if err != nil {
		t.Fatal(err)
	}
	if err := forged.Tell(t.Context(), event); err == nil || !strings.Contains(err.Error(), "status 403") || !s.cached(t, in("a.php")) {
		t.Errorf("a wrong signature: %v", err)
	}
	if err := built.Tell(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		kept := name == "kept.php" || name == "d2/c.php"
		if s.cached(t, in(name)) != kept {
			t.Errorf("%q is cached: %v", name, !kept)
		}
	}
	if !s.cached(t, x) {
		t.Error("what is outside of the site was forgotten")
	}
	for _, name := range names[:5] {
		if got := s.load(t, in(name)); got != "two" {
			t.Errorf("%q gives %q", name, got)
		}
	}
}

// The queue was full: all that is below the path is forgotten, here everything.
func TestOpcacheForgetsAllBelowADirectory(t *testing.T) {
	s := startPHP(t)
	file := filepath.Join(s.root, "d/a.php")
	s.write(t, file, "<?php echo 'one';")
	s.load(t, file)
	if !s.cached(t, file) {
		t.Fatal("nothing is cached")
	}
	h, err := daemon.NewHook(recipeHook(t, s, "hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	event := hook.Event{ID: "1", On: hook.Acked, Time: when, Paths: []hook.Path{{Path: "", What: hook.Many, Dir: true}}}
	if err := h.Tell(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	if s.cached(t, file) {
		t.Error("it is still cached")
	}
}

// recipeHook is the hook of the recipe, with this site and secret.
func recipeHook(t *testing.T, s phpSite, secret string) config.Hook {
	t.Helper()
	stage := newStage(t)
	h := recipeHooks(t, stage)["opcache-web1"]
	stage.write(t, "etc/sersync/opcache.secret", secret+"\n", 0o600)
	h.Post.URL = s.url + "/opcache.php"
	return h
}

func files(root string, names []string) (all []string) {
	for _, name := range names {
		all = append(all, filepath.Join(root, name))
	}
	return all
}
