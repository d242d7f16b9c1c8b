package channel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// Access is what an Auth grants.
type Access struct {
	// Open: the module has no users, and nobody has to prove anything.
	Open bool
	// Certified: the user is who the certificate of the client was made for (its common name), and nothing else is asked. It counts where clients
	// have certificates (Certificates.Clients).
	Certified bool
	// Secret is the user's, as it is, with every byte. Empty is a user that the module does not have or that has no secret: nobody
	// can log in, and the client learns no more than that user or secret are wrong.
	Secret []byte
}

// Auth is asked once for each login, for a module, the user that the client says it is, and where it comes from. An error of Refuse is sent to the
// client; of any other one it learns only that it was refused. The client has proved nothing yet: what counts as a connection of the module is for the
// caller of Server.Login to count when that has returned. The names are bytes that a stranger chose, the user perhaps empty, the module not.
//
// To make an unknown user look like any other in time as well, it does the same for both.
type Auth func(ctx context.Context, module, user string, from net.Addr) (Access, error)

// Peer is who logged in.
type Peer struct {
	Module string
	// User is empty in a module that is open.
	User string
	From net.Addr
}

// Server is the receiver's side. It may be used by any number of goroutines.
type Server struct {
	auth    Auth
	tls     *tls.Config
	clients *x509.CertPool
}

// Certificates are those of an own authority.
type Certificates struct {
	// Own is that of the receiver. Without it the Server makes a key that lives as long as itself, and signs it itself.
	Own *tls.Certificate
	// Clients, when not nil, must have signed the certificate of each client.
	Clients *x509.CertPool
}

// NewServer makes the receiver's side.
func NewServer(auth Auth, certificates Certificates) (*Server, error) {
	certificate := certificates.Own
	if certificate == nil {
		made, err := selfSigned()
		if err != nil {
			return nil, fmt.Errorf("make certificate: %w", err)
		}
		certificate = made
	}
	s := &Server{auth: auth, clients: certificates.Clients, tls: &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  []string{protocol},
		Certificates:                []tls.Certificate{*certificate},
		DynamicRecordSizingDisabled: true,
		SessionTicketsDisabled:      true,
	}}
	if s.clients != nil {
		// Verified by certified, so that a client is told what is wrong. That it has the key, TLS sees to.
		s.tls.ClientAuth = tls.RequestClientCert
	}
	return s, nil
}

// certified is whom the certificate of the client was made for; empty where clients have none.
func (s *Server) certified(c *tls.Conn) (string, error) {
	if s.clients == nil {
		return "", nil
	}
	chain := c.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return "", &Error{Kind: Denied, Text: "it wants a certificate, and the target has none"}
	}
	o := x509.VerifyOptions{Roots: s.clients, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, above := range chain[1:] {
		o.Intermediates.AddCert(above)
	}
	if _, err := chain[0].Verify(o); err != nil {
		return "", &Error{Kind: Denied, Text: "it does not accept the certificate of the target: " + err.Error()}
	}
	return chain[0].Subject.CommonName, nil
}

func selfSigned() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "sersync receive"},
		NotBefore:    now.AddDate(-1, 0, 0),
		NotAfter:     now.AddDate(100, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Login secures conn and lets the client log in. The context is for the login alone; its values are for Auth.
// With an error, conn is closed, and Peer says what the client claimed to be, as far as it came. The error is an *Error, which wraps one of Auth, or the context's own.
func (s *Server) Login(ctx context.Context, conn net.Conn) (net.Conn, Peer, error) {
	peer := Peer{From: conn.RemoteAddr()}
	c := &secured{below: &gather{Conn: conn}}
	c.Conn = tls.Server(c.below, s.tls)
	err := bounded(ctx, conn, func(ctx context.Context) error { return s.login(ctx, c.Conn, &peer) })
	if err != nil {
		return nil, peer, fmt.Errorf("let in client from %s: %w", peer.From, err)
	}
	c.below.ahead = true
	return c, peer, nil
}

func (s *Server) login(ctx context.Context, c *tls.Conn, peer *Peer) error {
	if err := handshake(c); err != nil {
		hint(err)
		return err
	}
	received, err := readFrame(c, maxHello)
	if err != nil {
		return err
	}
	h, version, err := parseHello(received)
	if err != nil {
		return refuse(c, err)
	}
	peer.Module, peer.User = h.module, h.user
	name, err := s.certified(c)
	if err != nil {
		return refuse(c, err)
	}
	access, err := s.auth(ctx, h.module, h.user, peer.From)
	switch {
	case err != nil:
		return refuse(c, err)
	case access.Open:
		peer.User = ""
		return writeFrame(c, answer{status: statusOpen, version: version}.encode())
	case access.Certified && (name == "" || name != h.user):
		return refuse(c, &Error{Kind: Denied, Text: fmt.Sprintf("the certificate of the target is for %q, and not for user %q", name, h.user)})
	case access.Certified:
		return writeFrame(c, answer{status: statusOpen, version: version}.encode())
	case len(h.share) == 0:
		return refuse(c, &Error{Kind: NeedsLogin, Text: "client has no user and no secret"})
	}
	return prove(ctx, c, h, received, version, access.Secret)
}

// prove runs the receiver's half of the PAKE, says what proves the secret, and waits for the client's proof.
func prove(ctx context.Context, c *tls.Conn, h hello, received []byte, version uint8, secret []byte) error {
	nobody := make([]byte, 32)
	rand.Read(nobody)
	if len(secret) == 0 {
		secret = nobody
	}
	r, err := newRun(c, h, secret)
	if err != nil {
		return err
	}
	a := answer{status: statusProof, version: version, share: r.own.public}
	t, err := r.tags([shareSize]byte(h.share), transcriptIR(h.share, received, a.share[:], a.head()))
	if err != nil {
		return refuse(c, &Error{Kind: Foreign, Err: err})
	}
	a.proof = t.receiver
	if err = writeFrame(c, a.encode()); err != nil {
		return err
	}
	proof, err := readFrame(c, tagSize)
	switch {
	case err == nil && hmac.Equal(proof, t.sender):
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return err // it is us who go
	}
	// However it ended: a client whose guess was wrong needs no proof to know it, and may leave by any door.
	return &Error{Kind: WrongLogin, Text: fmt.Sprintf("user %q of module %q did not prove the secret: wrong user or secret", h.user, h.module), Err: err}
}

// refuse tells the client why, and returns why.
func refuse(c *tls.Conn, why error) error {
	a := answer{status: statusRefused, versions: ours(), kind: Denied}
	var known *Error
	if errors.As(why, &known) {
		switch known.Kind {
		case NoModule, Denied, Busy:
			a.kind, a.text = known.Kind, printable(known.Text)
		case NeedsLogin, Version:
			a.kind = known.Kind
		}
	}
	if err := writeFrame(c, a.encode()); err != nil {
		return errors.Join(why, fmt.Errorf("tell the client: %w", err))
	}
	return why
}

// hint tells an rsync in its own words what it has called: it shows them to whoever has mixed up the ports.
func hint(err error) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && spoken(header.RecordHeader) == "rsync" {
		io.WriteString(header.Conn, "@ERROR: this is sersync receive, no rsync daemon\n")
	}
}
