package daemon

import (
	"context"
	"errors"

	"sersync/internal/httpd"
)

// metrics answers Prometheus where the configuration wants it.
type metrics struct {
	// address is where it listens; empty for nowhere.
	address string
	stop    context.CancelFunc
	done    chan struct{}
}

// listenMetrics begins to answer on address; with none, nothing is done.
func (d *Daemon) listenMetrics(address string) error {
	if address == "" {
		return nil
	}
	server, err := httpd.ListenMetrics(address, api{d}.Status, d.log)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := metrics{address: address, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		if err := server.Run(ctx); err != nil {
			d.log.Error("metrics are not served any more", "address", address, "error", err, "hint", "send HUP to try again")
		}
	}()
	d.metrics = m
	d.log.Info("metrics are served", "address", address)
	return nil
}

// stopMetrics closes the address, if there is one.
func (d *Daemon) stopMetrics() {
	if d.metrics.stop == nil {
		return
	}
	d.metrics.stop()
	<-d.metrics.done
	d.metrics = metrics{}
}

// serving reports whether there are answers on address.
func (m metrics) serving(address string) bool {
	if address != m.address {
		return false
	}
	select {
	case <-m.done:
		return false
	default:
		return true
	}
}

// moveMetrics goes to another address. The old one is closed first, for the new one may be the same port. Where the
// new one cannot be had, the old one stays: who watches us must not lose sight of us by a typing error.
func (d *Daemon) moveMetrics(address string) {
	old := d.metrics.address
	if d.metrics.serving(address) {
		return
	}
	d.stopMetrics()
	err := d.listenMetrics(address)
	if err == nil {
		if address == "" {
			d.log.Info("metrics are not served any more", "address", old)
		}
		return
	}
	d.log.Error("metrics not moved, the old address stays", "address", address, "old", old, "error", err, "hint", hintOf(err))
	if old == address {
		return
	}
	if err := d.listenMetrics(old); err != nil {
		d.log.Error("metrics are not served any more", "address", old, "error", err, "hint", hintOf(err))
	}
}

// hintOf is what a person can do about an error; empty when nothing.
func hintOf(err error) string {
	var hinted interface {
		error
		Hint() string
	}
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}
