package convert

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
	"golang.org/x/sys/unix"

	"sersync/internal/config"
)

// What a configuration may cost. Those of people take a millisecond.
const (
	luaTime   = 2 * time.Second
	luaMemory = 64 << 20 // bytes
	// luaCeiling is where the kernel refuses more, for what a single instruction asks for.
	luaCeiling = 1 << 30
	luaRepeat  = 1 << 20 // bytes that string.rep makes at the most
	luaLook    = 2 * time.Millisecond
	// luaGrace is how long a script that costs too much may take to end: a single instruction cannot be interrupted.
	luaGrace = time.Second
)

// call is one sync{...}.
type call struct {
	line  int
	table *lua.LTable
}

// script is a configuration of lsyncd while it runs, and what it asked for.
type script struct {
	file     string
	state    *lua.LState
	settings *lua.LTable
	syncs    []call
	// kinds are default.rsync and the like.
	kinds map[*lua.LTable]string
	// lines are those of keys in the calls of a line: "rsync.archive"; setting those of keys of settings.
	lines   map[int]map[string]int
	setting map[string]int
}

// runLua runs the text of a configuration, with nothing within reach but itself.
func runLua(file string, data []byte) (*script, error) {
	chunk, err := parse.Parse(strings.NewReader(string(data)), file)
	if err != nil {
		return nil, luaSyntax(file, err)
	}
	s := &script{file: file, kinds: make(map[*lua.LTable]string), lines: make(map[int]map[string]int), setting: make(map[string]int)}
	s.findLines(chunk)
	proto, err := lua.Compile(chunk, file)
	if err != nil {
		return nil, luaSyntax(file, err)
	}
	s.state = lua.NewState(lua.Options{SkipOpenLibs: true, CallStackSize: 200, RegistrySize: 1 << 12, RegistryMaxSize: 1 << 16})
	s.open()
	ctx, cancel := context.WithTimeout(context.Background(), luaTime)
	defer cancel()
	s.state.SetContext(ctx)
	lift := lowerCeiling()
	defer lift()
	done := make(chan error, 1)
	go func() {
		s.state.Push(s.state.NewFunctionFromProto(proto))
		done <- s.state.PCall(0, 0, nil)
	}()
	if err := await(ctx, done); err != nil {
		cancel()
		select {
		case <-done:
		case <-time.After(luaGrace):
		}
		return nil, &config.SyntaxError{Place: config.Place{File: file}, Err: fmt.Errorf("the Lua cannot be run: %w", err)}
	}
	return s, nil
}

// await returns when the script has ended, or costs too much. It closes done when nothing more is to come.
func await(ctx context.Context, done chan error) error {
	var start, now runtime.MemStats
	runtime.ReadMemStats(&start)
	look := time.NewTicker(luaLook)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			close(done)
			var api *lua.ApiError
			if ctx.Err() != nil {
				return fmt.Errorf("it takes longer than %v", luaTime)
			}
			if errors.As(err, &api) {
				return errors.New(api.Object.String())
			}
			return err
		case <-ctx.Done():
			return fmt.Errorf("it takes longer than %v", luaTime)
		case <-look.C:
			if runtime.ReadMemStats(&now); now.HeapAlloc > start.HeapAlloc+luaMemory {
				return fmt.Errorf("it takes more than %d MiB of memory", luaMemory>>20)
			}
		}
	}
}

// lowerCeiling bounds what this process may still allocate, until lift is called.
func lowerCeiling() (lift func()) {
	var old unix.Rlimit
	statm, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(statm))
	if err != nil || len(fields) < 6 || unix.Getrlimit(unix.RLIMIT_DATA, &old) != nil {
		return func() {}
	}
	pages, _ := strconv.ParseUint(fields[5], 10, 64) // data and stack
	limit := unix.Rlimit{Cur: min(pages*uint64(os.Getpagesize())+luaCeiling, old.Cur), Max: old.Max}
	if unix.Setrlimit(unix.RLIMIT_DATA, &limit) != nil {
		return func() {}
	}
	return func() { _ = unix.Setrlimit(unix.RLIMIT_DATA, &old) }
}

func luaSyntax(file string, err error) error {
	place := config.Place{File: file}
	var syntax *parse.Error
	if errors.As(err, &syntax) {
		if place.Line = syntax.Pos.Line; place.Line == math.MaxInt || place.Line < 0 {
			place.Line = 0
		}
		err = fmt.Errorf("%s near %q", syntax.Message, syntax.Token)
	}
	return &config.SyntaxError{Place: place, Err: fmt.Errorf("this is neither a confxml.xml nor Lua: %w", err)}
}

// open gives the script what lsyncd gives it, and takes what reaches out of it.
func (s *script) open() {
	l := s.state
	for _, lib := range []struct {
		name string
		open lua.LGFunction
	}{{lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}, {lua.StringLibName, lua.OpenString}, {lua.MathLibName, lua.OpenMath}} {
		l.Push(l.NewFunction(lib.open))
		l.Push(lua.LString(lib.name))
		l.Call(1, 0)
	}
	for _, name := range []string{"dofile", "loadfile", "load", "loadstring", "require", "module", "collectgarbage", "newproxy", "_printregs"} {
		l.SetGlobal(name, l.NewFunction(refused(name)))
	}
	for _, name := range []string{"io", "os", "package", "debug", "posix"} {
		t := l.NewTable()
		meta := l.NewTable()
		meta.RawSetString("__index", l.NewFunction(func(l *lua.LState) int { return refused(name + "." + l.ToString(2))(l) }))
		l.SetMetatable(t, meta)
		l.SetGlobal(name, t)
	}
	if lib, ok := l.GetGlobal(lua.StringLibName).(*lua.LTable); ok {
		lib.RawSetString("rep", l.NewFunction(rep))
	}
	nothing := l.NewFunction(func(*lua.LState) int { return 0 })
	for _, name := range []string{"print", "log", "alarm", "spawn", "spawnShell", "observefd", "nonobservefd", "terminate", "readdir"} {
		l.SetGlobal(name, nothing)
	}
	l.SetGlobal("now", l.NewFunction(func(l *lua.LState) int { l.Push(lua.LNumber(0)); return 1 }))
	l.SetGlobal("lsyncd_version", lua.LString("2.2.3"))
	s.defaults()
	s.settings = l.NewTable()
	meta := l.NewTable()
	meta.RawSetString("__call", l.NewFunction(func(l *lua.LState) int {
		l.CheckTable(2).ForEach(func(k, v lua.LValue) { s.settings.RawSet(k, v) })
		maps.Copy(s.setting, s.lines[currentLine(l)])
		return 0
	}))
	l.SetMetatable(s.settings, meta)
	l.SetGlobal("settings", s.settings)
	l.SetGlobal("sync", l.NewFunction(func(l *lua.LState) int {
		s.syncs = append(s.syncs, call{currentLine(l), l.CheckTable(1)})
		l.Push(l.NewTable()) // the inlet
		return 1
	}))
}

func (s *script) defaults() {
	l := s.state
	all := l.NewTable()
	nothing := l.NewFunction(func(*lua.LState) int { return 0 })
	for _, name := range []string{"action", "collect", "init", "prepare", "collapse"} {
		all.RawSetString(name, nothing)
	}
	for _, kind := range []string{"rsync", "rsyncssh", "direct"} {
		t := l.NewTable()
		for _, name := range []string{"action", "collect", "init", "prepare", "collapse"} {
			t.RawSetString(name, nothing)
		}
		for _, name := range []string{"checkgauge", "exitcodes", "rsync", "ssh"} {
			t.RawSetString(name, l.NewTable())
		}
		s.kinds[t] = "default." + kind
		all.RawSetString(kind, t)
	}
	l.SetGlobal("default", all)
}

func refused(name string) lua.LGFunction {
	return func(l *lua.LState) int {
		l.RaiseError("%s is not available to a configuration that is converted: write its value into the file", name)
		return 0
	}
}

func rep(l *lua.LState) int {
	text, n := l.CheckString(1), l.CheckInt(2)
	if n > 0 && len(text) > luaRepeat/n {
		l.RaiseError("string.rep makes more than %d bytes", luaRepeat)
	}
	l.Push(lua.LString(strings.Repeat(text, max(n, 0))))
	return 1
}

func currentLine(l *lua.LState) int {
	frame, ok := l.GetStack(1)
	if !ok {
		return 0
	}
	if _, err := l.GetInfo("l", frame, lua.LNil); err != nil {
		return 0
	}
	return frame.CurrentLine
}

// findLines notes where the keys of calls stand, and settings.KEY = VALUE.
func (s *script) findLines(chunk []ast.Stmt) {
	for _, stmt := range chunk {
		switch stmt := stmt.(type) {
		case *ast.FuncCallStmt:
			s.callLines(stmt.Expr)
		case *ast.LocalAssignStmt:
			s.callLines(stmt.Exprs...)
		case *ast.AssignStmt:
			s.callLines(stmt.Rhs...)
			s.settingLines(stmt)
		case *ast.DoBlockStmt:
			s.findLines(stmt.Stmts)
		case *ast.NumberForStmt:
			s.findLines(stmt.Stmts)
		case *ast.GenericForStmt:
			s.findLines(stmt.Stmts)
		case *ast.IfStmt:
			s.findLines(stmt.Then)
			s.findLines(stmt.Else)
		}
	}
}

func (s *script) callLines(exprs ...ast.Expr) {
	for _, e := range exprs {
		f, ok := e.(*ast.FuncCallExpr)
		if !ok || len(f.Args) != 1 {
			continue
		}
		if t, ok := f.Args[0].(*ast.TableExpr); ok {
			keys := make(map[string]int)
			tableLines(t, "", keys)
			s.lines[f.Line()] = keys
		}
	}
}

func (s *script) settingLines(stmt *ast.AssignStmt) {
	for i, left := range stmt.Lhs {
		switch left := left.(type) {
		case *ast.AttrGetExpr:
			object, isName := left.Object.(*ast.IdentExpr)
			key, isText := left.Key.(*ast.StringExpr)
			if isName && isText && object.Value == "settings" {
				s.setting[key.Value] = stmt.Line()
			}
		case *ast.IdentExpr:
			if t, ok := stmt.Rhs[min(i, len(stmt.Rhs)-1)].(*ast.TableExpr); ok && left.Value == "settings" {
				tableLines(t, "", s.setting)
			}
		}
	}
}

func tableLines(t *ast.TableExpr, prefix string, into map[string]int) {
	for _, f := range t.Fields {
		key, ok := f.Key.(*ast.StringExpr)
		if !ok {
			continue
		}
		into[prefix+key.Value] = key.Line()
		if inner, ok := f.Value.(*ast.TableExpr); ok {
			tableLines(inner, prefix+key.Value+".", into)
		}
	}
}
