package native

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sersync/internal/change"
	"sersync/internal/transport"
)

var _ transport.Prober = (*Transport)(nil)

// What the file of a Probe is like: as no target has it by chance. A file that belongs to nobody, to see whether owners are set.
const (
	probeMode  = 0o642
	probeOwner = 65534
)

// probeTime has an odd second and nanoseconds, long ago.
var probeTime = time.Unix(981173107, 123456789)

// removeWithin bounds the removal of the file, also when the time of the Probe itself is over.
const removeWithin = 30 * time.Second

// Probe implements transport.Prober. The target's clock is not asked.
func (t *Transport) Probe(ctx context.Context) (p transport.Probed, err error) {
	dir, err := os.MkdirTemp("", "sersync-probe-")
	if err != nil {
		return p, fmt.Errorf("make directory for a probe: %w", err)
	}
	defer os.RemoveAll(dir)
	p = transport.Probed{
		Name: ".sersync-probe-" + strings.ToLower(rand.Text()), NoStamp: errors.New("a receiver is not asked for it"),
		Times: transport.GrainUnknown, Modes: transport.Stored, Owners: transport.Unknown,
	}
	root, err := probeFile(dir, p.Name)
	if err != nil {
		return p, err
	}
	defer root.Close()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeWithin)
		defer cancel()
		p.Left = t.unprobe(ctx, root, p.Name)
	}()
	// The directory above goes along with a path; its attributes are not those of the source, so it is not sent.
	report, err := t.exchange(ctx, transport.Batch{Op: transport.Update, Root: root, Keep: true}, func(b *batch) error {
		b.parents[change.Root] = struct{}{}
		b.Paths = []change.Path{change.Path(p.Name)}
		return b.run(ctx, false)
	})
	if err != nil {
		return p, err
	}
	if len(report.Failed) > 0 {
		return p, &transport.Error{
			Kind: transport.Misconfigured, Err: report.Failed[0].Err,
			Hint: "let the user of the module write in its directory",
		}
	}
	return p, t.stored(ctx, &p, report)
}

// probeFile makes the file in an empty directory.
func probeFile(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name)
	err := os.WriteFile(path, []byte("sersync doctor --probe\n"), 0o600)
	if err == nil {
		err = os.Chmod(path, probeMode)
	}
	if err == nil && os.Geteuid() == 0 {
		err = os.Chown(path, probeOwner, probeOwner)
	}
	if err == nil {
		err = os.Chtimes(path, probeTime, probeTime)
	}
	if err != nil {
		return nil, fmt.Errorf("make file for a probe: %w", err)
	}
	return os.Open(dir)
}

// stored says what a target stored of the file: what it could not, it told, and how fine its times are it learned.
func (t *Transport) stored(ctx context.Context, p *transport.Probed, report transport.Report) error {
	c, err := t.connectAnew(ctx)
	if err != nil {
		return err
	}
	switch {
	case c.Granularity == 1:
		p.Times = transport.Nanoseconds
	case c.Granularity <= 1e9:
		p.Times = transport.Seconds
	default:
		p.Times = transport.Coarse
	}
	if len(report.Limits) > 0 {
		p.Modes = transport.Lost
	}
	if os.Geteuid() == 0 {
		p.Owners = transport.Lost
		if c.Owners {
			p.Owners = transport.Stored
		}
	}
	return nil
}

// unprobe removes the file there; nil says that it is gone.
func (t *Transport) unprobe(ctx context.Context, root *os.File, name string) error {
	report, err := t.exchange(ctx, transport.Batch{Op: transport.Remove, Root: root, Paths: []change.Path{change.Path(name)}}, func(b *batch) error {
		b.day = "" // nobody wants it back
		return b.run(ctx, false)
	})
	if err == nil && len(report.Failed) > 0 {
		err = report.Failed[0].Err
	}
	return err
}
