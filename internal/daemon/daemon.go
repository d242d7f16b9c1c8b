// Package daemon puts the parts together: it makes components of a configuration, starts and
// stops them, takes over a changed configuration, and sees to it that nobody else does the same work. It
// is the only place that knows both the configuration and the pipeline.
package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sersync/internal/config"
	"sersync/internal/httpd"
	"sersync/internal/replicate"
	"sersync/internal/watch/inotify"
)

// Options are what a daemon is started with.
type Options struct {
	// Load reads the configuration, at the start and at each reload. The problems that are no
	// error are said in the log.
	Load func() (*config.Config, []config.Problem, error)
	// Version is what the status says.
	Version string
	// Detached says that nobody watches: standard output and error go to the log file.
	Detached bool
	// NewLog makes the log that goes to w, from a level on that may change.
	NewLog func(w io.Writer, c config.Log, level slog.Leveler) *slog.Logger
	// OnBatch, when not nil, is told of each batch.
	OnBatch func(replicate.BatchDone)
	// Up is called once the configuration is read, locks are held, roots are open and watched,
	// and the socket listens. The daemon's log file is given, empty for standard error.
	Up func(logFile string)
	// Hup asks for a reload with each value; nil never does.
	Hup <-chan os.Signal
	// Supervisor is told how the daemon is; nil when nobody wants to know.
	Supervisor *Supervisor
}

// Daemon replicates all sources of one configuration.
type Daemon struct {
	opts    Options
	log     *slog.Logger
	logFile *logFile
	// logLevel is from where on is logged.
	logLevel slog.LevelVar
	started  time.Time
	// stateDir is where the journals are kept; empty for in memory, as for what was asked for on the command line alone.
	stateDir string
	// runs bounds the transport runs at one time.
	runs chan struct{}
	// said are the problems of the configuration that the log has.
	said map[string]bool
	// ended receives a source that ended before it was told to.
	ended chan *running
	// alive is what the main loop takes from and does nothing with: it answers so.
	alive chan struct{}

	// mu guards what a reload replaces and the API reads.
	mu          sync.Mutex
	config      *config.Config
	sources     []*running
	reloaded    time.Time
	reloadError string

	// events passes on what happens.
	events httpd.Feed

	// locks are held for pairs of source and target, by their file. Only Run touches them.
	locks map[string]*lock
	// metrics are like locks: only Run touches them.
	metrics metrics
}

// New is a daemon that Run starts.
func New(opts Options) *Daemon {
	return &Daemon{
		opts: opts, started: time.Now(), said: map[string]bool{}, locks: map[string]*lock{},
		ended: make(chan *running), alive: make(chan struct{}),
	}
}

// Run starts everything and replicates until ctx ends; then what is in flight is finished, and nil is
// returned. An error says why it could not start, or why it cannot go on.
func (d *Daemon) Run(ctx context.Context) error {
	cfg, problems, err := d.opts.Load()
	if err != nil {
		return err
	}
	d.config = cfg
	if cfg.Runs > 0 {
		d.runs = make(chan struct{}, cfg.Runs)
	}
	for _, dir := range []string{config.RunDir(), filepath.Dir(cfg.Socket), filepath.Dir(cfg.PidFile)} {
		if err := makeRunDir(dir); err != nil {
			return err
		}
	}
	// Before the log is opened: it may be that of the one that runs already.
	self, err := acquire(cfg.Socket+".lock", Holder{PID: os.Getpid(), Config: d.title(), What: d.title()})
	if err != nil {
		return err
	}
	defer self.release()
	defer d.releaseBut(nil)
	if err := d.openLog(cfg); err != nil {
		return err
	}
	d.say(problems)
	if cfg.File != "" {
		d.stateDir = cfg.StateDir
	}
	return d.serve(ctx, cfg)
}

// serve runs the sources and the API.
func (d *Daemon) serve(ctx context.Context, cfg *config.Config) error {
	if _, err := d.lockPairs(pairs(cfg)); err != nil {
		return err
	}
	built, err := d.build(cfg, cfg.Sources)
	if err != nil {
		return err
	}
	server, err := httpd.Listen(cfg.Socket, api{d}, d.log)
	if err != nil {
		closeAll(built)
		return err
	}
	if err := d.listenMetrics(cfg.Metrics.Listen); err != nil {
		closeAll(built)
		server.Close()
		return err
	}
	defer d.stopMetrics()
	if os.Geteuid() == 0 {
		if err := inotify.RaiseQueue(d.log); err != nil {
			d.log.Warn("the kernel's queue of events stays short, so that bursts cost a look at the tree", "error", err)
		}
	}
	started, err := d.start(ctx, built)
	if err != nil {
		server.Close()
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	d.setSources(started)

	// The API outlives the sources, so that one can see what they wait for while they end.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- server.Run(serving) }()
	failLogged := make(chan struct{})
	go func() {
		defer close(failLogged)
		d.failLog().run(serving)
	}()
	err = d.up(ctx, cfg, served)
	stopAll(d.running())
	stopServing()
	<-served
	<-failLogged
	return err
}

// up is the time in which everything runs.
func (d *Daemon) up(ctx context.Context, cfg *config.Config, served chan error) error {
	if err := writePID(cfg.PidFile); err != nil {
		return err
	}
	defer os.Remove(cfg.PidFile)
	d.log.Info("sersync is up", "config", d.title(), "pid", os.Getpid(), "sources", len(cfg.Sources))
	if d.opts.Up != nil {
		d.opts.Up(d.logPath())
	}
	stopTelling := d.tell()
	err := d.loop(ctx, served)
	stopTelling()
	d.opts.Supervisor.Stopping()
	if err != nil && d.opts.Detached {
		// Nobody sees what Run returns any more.
		d.log.Error("sersync ends", "error", err)
	}
	return err
}

func (d *Daemon) loop(ctx context.Context, served chan error) error {
	for {
		select {
		case <-ctx.Done():
			d.log.Info("sersync stops", "cause", context.Cause(ctx))
			return nil
		case r := <-d.ended:
			if r.err == nil {
				return fmt.Errorf("source %q ended without being told to", r.config.Name)
			}
			return fmt.Errorf("replicate source %q: %w", r.config.Name, r.err)
		case err := <-served:
			served <- err
			return err
		case <-d.opts.Hup:
			d.opts.Supervisor.Reloading()
			d.hup(ctx)
			d.opts.Supervisor.Ready(d.summary())
		case <-d.alive:
		}
	}
}

// hup does what SIGHUP asks for: the log file is opened again, and the configuration is read again.
func (d *Daemon) hup(ctx context.Context) {
	if d.logFile != nil {
		if err := d.logFile.reopen(); err != nil {
			d.log.Error("log file not opened again", "error", err)
		}
	}
	err := d.reload(ctx)
	d.mu.Lock()
	d.reloadError = ""
	if err != nil {
		d.reloadError = err.Error()
	} else {
		d.reloaded = time.Now()
	}
	d.mu.Unlock()
	if err != nil {
		d.log.Error("configuration not reloaded, the old one stays", "error", err)
		return
	}
	d.log.Info("configuration reloaded")
}

// openLog makes the log as the configuration wants it.
func (d *Daemon) openLog(cfg *config.Config) error {
	d.setLogLevel(cfg.Log.Level)
	path := cfg.Log.File
	if path == "" && d.opts.Detached {
		var err error
		if path, err = defaultLogFile(cfg.Name); err != nil {
			return err
		}
		// Inside a source it must not be replicated: the filter asks the configuration.
		cfg.Log.File = path
	}
	if path == "" {
		d.log = d.opts.NewLog(os.Stderr, cfg.Log, &d.logLevel)
		return nil
	}
	file, err := openLogFile(path, d.opts.Detached)
	if err != nil {
		return &Error{Err: err, Advice: "name a directory that this user can write with " + LogDirEnv + ", or a file in the configuration"}
	}
	d.logFile = file
	d.log = d.opts.NewLog(file, cfg.Log, &d.logLevel)
	return nil
}

func (d *Daemon) logPath() string {
	if d.logFile == nil {
		return ""
	}
	return d.logFile.path
}

// say logs what there is to say about the configuration, each thing once.
func (d *Daemon) say(problems []config.Problem) {
	for _, p := range problems {
		text := p.String()
		if d.said[text] {
			continue
		}
		d.said[text] = true
		if p.Severity == config.Notice {
			d.log.Info("configuration", "notice", text)
		} else {
			d.log.Warn("configuration", "warning", text)
		}
	}
}

// title is the configuration as a person names it.
func (d *Daemon) title() string {
	if d.config.File == "" {
		return "sersync sync " + d.config.Sources[0].Path
	}
	if abs, err := filepath.Abs(d.config.File); err == nil {
		return abs
	}
	return d.config.File
}

// running are the sources that run now.
func (d *Daemon) running() []*running {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sources
}

func (d *Daemon) setSources(sources []*running) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sources = sources
}
