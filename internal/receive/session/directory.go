package session

import (
	"context"
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
	ctx, cancel := context.WithCancel(context.Background())
	d := &Directory{server: New(tree, o), tree: tree, cancel: cancel}
	d.running.Go(func() { d.server.Run(ctx) })
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
