package daemon

import (
	"sersync/internal/httpd"
	"sersync/internal/replicate"
)

// Events is where batches are passed on.
func (a api) Events() *httpd.Feed { return &a.d.events }

// batch is told of each batch, by several senders at the same time.
func (d *Daemon) batch(b replicate.BatchDone) {
	d.events.Batch(b)
	if d.opts.OnBatch != nil {
		d.opts.OnBatch(b)
	}
}
