package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	"sersync/internal/apply"
)

// Directory is a directory that is served: its Server, and what goes on beside the connections.
type Directory struct {
	server  *Server
	tree    *apply.Tree
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Open serves a tree, which belongs to the Directory from now on, until Close. What an end without warning left in it is put in order meanwhile.
func Open(tree *apply.Tree, o Options) *Directory {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &Directory{server: New(tree, o), tree: tree, cancel: cancel}
	d.running.Go(func() { d.server.Run(ctx) })
	d.running.Go(func() {
		if err := tree.Recover(ctx); err != nil && !errors.Is(err, context.Canceled) {
			o.Log.Warn("what an end without warning left is not all put in order", "error", err)
		}
	})
	return d
}

// Serve is that of the Server.
func (d *Directory) Serve(ctx context.Context, nc net.Conn, who Sender) error {
	return d.server.Serve(ctx, nc, who)
}

// Close brings everything to the disk. All connections have ended.
func (d *Directory) Close() error {
	d.cancel()
	d.running.Wait()
	return d.tree.Close()
}
