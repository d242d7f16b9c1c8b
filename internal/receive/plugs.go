package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
)

// Plugs are what the processes do once they stand: the login in the front, the session in a module.
type Plugs struct {
	// Login makes what lets clients in. It is called once, in the front, and can open no file.
	Login func(Auth, Certificates) (Login, error)
	// Open makes what serves a module, and what is called when all clients are gone. It is called once, in the process of the module. What serves a client must not be shared
	// with others by more than what Open makes.
	Open func(Place) (Serve, func() error, error)
}

// ErrCut says of a login that the connection ended, or nothing more came, before the client could learn whether a guess of a secret is right.
var ErrCut = errors.New("the connection ended in the login")

// Login secures conn, has the client prove who it is, and returns the connection to go on with. The context is for the login
// alone. With an error, which may be ErrCut, it has closed conn, and Peer is what the client claimed to be, as far as it came. It may run many times at once.
type Login func(ctx context.Context, conn net.Conn) (net.Conn, Peer, error)

// Peer is who logged in.
type Peer struct {
	Module string
	// User is empty in a module that is open.
	User string
}

// Auth says how a client can log in to a module. The error is a *Refusal, of which the client is to be told, or
// that of the context. The client has proved nothing yet; the names are bytes that a stranger chose.
type Auth func(ctx context.Context, module, user string, from net.Addr) (Grant, error)

// Grant is what has to be proved.
type Grant struct {
	// Open: nothing.
	Open bool
	// Certified: no more than a certificate for the user.
	Certified bool
	// Secret is the user's. Empty is that of a user who cannot log in.
	Secret []byte
}

// Place is where a module's process works.
type Place struct {
	Module Module
	// Root is the directory of the module. It is also the working directory, and where Jailed, the root directory.
	Root *os.File
	// Jailed says that nothing but the module can be named; not so without root.
	Jailed bool
	// Proc is a /proc with nothing but processes, for "self/fd/N" relative to it: in a jail there is no other. It is nil without a jail, and
	// where a container does not allow it.
	Proc *os.File
	// Moved reports whether the directory has lost its name, and tells the parent, which ends the process then. Nothing may be written afterwards.
	Moved func() bool
	// Owns says that owners, groups and any mode can be set. What is made belongs to Module.User only when it is given to him.
	Owns bool
	Log  *slog.Logger
}

// Serve serves one client until it goes, ctx ends, or something fails. It closes nothing but what it opened: conn is closed after it. It runs once for each
// connection, many at a time.
type Serve func(ctx context.Context, conn net.Conn, s Session) error

// Session is what is known of a client.
type Session struct {
	// User is empty in a module that is open.
	User string
	// Address is ADDRESS:PORT.
	Address string
	// ReadOnly, when not empty, is why updates are refused, with the line to change.
	ReadOnly string
}

// RefusalKind is why a client is sent away.
type RefusalKind string

const (
	// NoModule: there is no such module, or none that it may know of.
	NoModule RefusalKind = "no module"
	// NotAllowed: who comes from there may not.
	NotAllowed RefusalKind = "not allowed"
	// Busy: it may try again later.
	Busy RefusalKind = "busy"
)

// Refusal sends a client away with a reason that it is told.
type Refusal struct {
	Kind RefusalKind `json:"kind"`
	Text string      `json:"text"`
}

func (r *Refusal) Error() string { return r.Text }

func refuse(kind RefusalKind, format string, args ...any) *Refusal {
	return &Refusal{kind, fmt.Sprintf(format, args...)}
}
