package receive

import (
	"context"
	"errors"
	"os"
	"reflect"
	"time"
)

const (
	// steady is how long a process lives that did not fail at its start.
	steady = 10 * time.Second
	// Between the starts of what fails again and again.
	firstPause, longestPause = 100 * time.Millisecond, 30 * time.Second
)

// pause is how long the next start waits, by how many starts failed one after the other.
func pause(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	return min(firstPause<<min(failures-1, 16), longestPause)
}

// frontConfig is what a front needs to know.
type frontConfig struct {
	Modules      []Module
	Certificates Certificates
}

// keepFront has a front as long as ctx lasts. A new one takes the place of the old one when the configuration
// changes; those who are connected to the old one stay with it.
func (b *broker) keepFront(ctx context.Context, listening func()) error {
	failures := 0
	for {
		p, err := b.startFront()
		if err != nil && listening != nil {
			return err // it never worked
		}
		if err == nil && listening != nil {
			listening()
			listening = nil
		}
		if err == nil {
			err = b.watchFront(ctx, p, &failures)
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if failures++; failures == 1 {
			b.o.Log.Error("front failed, clients are cut off", "error", err)
		}
		select {
		case <-time.After(pause(failures)):
		case <-ctx.Done():
			return nil
		}
	}
}

// watchFront returns when there is to be another front. The error is why this one is no more; nil when it is put off.
func (b *broker) watchFront(ctx context.Context, p *process, failures *int) error {
	well := time.NewTimer(steady)
	defer well.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return errors.Join(errors.New("process ended"), p.end)
		case <-well.C:
			if *failures > 0 {
				b.o.Log.Info("front works again", "failed", *failures)
			}
			*failures = 0
		case <-b.o.Reload:
			if b.reload() {
				p.control.finish()
				return nil
			}
		}
	}
}

func (b *broker) startFront() (*process, error) {
	b.mu.Lock()
	config := frontConfig{b.config.Modules, b.config.Certificates}
	b.mu.Unlock()
	c := birth{args: []string{"front"}, root: b.nothing, files: []*os.File{b.listener}, config: config}
	if privileged() {
		c.user = &User{UID: Nobody, GID: Nobody}
	}
	p, err := b.start(c)
	if err != nil {
		return nil, err
	}
	if !b.adopt(p) {
		return nil, errEnding
	}
	b.running.Go(func() { b.attend(p) })
	return p, nil
}

// attend answers what a front asks until it is gone.
func (b *broker) attend(p *process) {
	defer b.buried(p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		m, file, err := p.control.receive()
		if file != nil {
			file.Close() // nobody has asked for it
		}
		if err != nil {
			break
		}
		b.answers <- struct{}{}
		b.running.Go(func() {
			defer func() { <-b.answers }()
			b.answer(ctx, p, m)
		})
	}
	<-p.done
}

// answer answers one question.
func (b *broker) answer(ctx context.Context, p *process, m message) {
	ctx, cancel := context.WithTimeout(ctx, loginPatience)
	defer cancel()
	reply := message{Kind: kindAnswer, ID: m.ID}
	var stream *os.File
	mod := b.module(m.Module)
	switch {
	case mod == nil:
		reply.Refusal = unknownModule(m.Module)
	case !mod.enterDoor():
		reply.Refusal = refuse(Busy, "module %q does not answer, try again later", m.Module)
	default:
		stream, reply.Refusal = mod.answer(ctx, m)
		mod.leaveDoor()
	}
	if stream != nil {
		defer stream.Close()
	}
	_ = p.control.send(reply, stream) // a front that is gone needs no answer
}

// module is the one of that name, with the settings of the present configuration; nil when there is none.
func (b *broker) module(name string) *module {
	b.mu.Lock()
	defer b.mu.Unlock()
	if mod := b.modules[name]; mod != nil {
		return mod
	}
	settings := b.config.module(name)
	if settings == nil || b.ending {
		return nil
	}
	mod := newModule(b, *settings, b.retired[name])
	b.modules[name] = mod
	return mod
}

// reload reads the configuration again, and ends the sessions of modules that are others now. It reports whether there is anything new.
func (b *broker) reload() bool {
	config, err := b.o.Load()
	if err != nil {
		b.o.Log.Error("new configuration cannot be used, the old one stays", "error", err)
		return false
	}
	b.mu.Lock()
	old := b.config
	b.config = config
	changed := 0
	for name, mod := range b.modules {
		if settings := config.module(name); settings == nil || !reflect.DeepEqual(*settings, mod.settings) {
			changed++
			b.retired[name] = mod.retire()
			delete(b.modules, name)
		}
	}
	b.mu.Unlock()
	if old.Listen != config.Listen || old.PIDFile != config.PIDFile || old.LogFile != config.LogFile {
		b.o.Log.Warn("another port, address, pid file or log file counts after a restart")
	}
	b.o.Log.Info("configuration loaded", "modules", len(config.Modules), "changed", changed)
	return true
}
