// Package channel is the secured connection between a sender and "sersync receive", under the sessions of the native transport: TLS 1.3,
// and in it a login by the user and the secret of a module. After it nobody is in between,
// and each side has proved to the other that it knows the secret.
//
// Secrets are those of people: short, and the same as in their rsync's secrets file. So nothing that is sent can be checked against
// a list of words. The login is CPace (cpace.go), a balanced PAKE, bound to this TLS connection by its exporter:
//
//	sender                                     receiver
//	  ── TLS 1.3 handshake, one round trip ──
//	  hello: versions, module, user, Ya   ──►   asks Auth
//	                                      ◄──   answer: version, Yb, proof of the receiver
//	  proof of the sender, first data     ──►
//
// The certificate is self-signed and proves nothing (unless Login.CA is given); the exporter is what makes a relay fail: it differs between
// the two connections of one who terminates TLS in the middle, and with it the generators of the two sides.
//
// The receiver proves itself first. Whoever guesses at a receiver learns from one connection whether one guess was right, with this order
// or the other: he would see as well whether he is let in. Whoever poses as the receiver has to prove his one guess before the sender has sent anything
// that depends on the secret but Ya, which fits every secret equally; if it is wrong, the sender says nothing more. The reverse order would give a
// forged receiver a proof of the sender for nothing, and cost one more round trip before the first data. The price: who guesses at a receiver can
// go without a word. So to Server.Login everything that is no proof is WrongLogin once its answer is out; slowing those down is for its caller.
//
// An unknown user is one with a random secret: same messages, same work. A module without users is open: the receiver says so, and the sender believes it only if
// its target has neither user nor secret, so that nobody can take the login away. Such a module is as safe from a listener as any;
// but nobody there is proved to be anybody, so one who sits in between, and there alone, can read and write unless Login.CA is given.
//
// Where an own authority signed certificates, the receiver proves itself by its own before anything else (Login.CA), and a client by its own to a receiver
// with Certificates.Clients. Secrets are asked for all the same, unless Auth takes the name in the certificate for the user (Access.Certified).
//
// There are no session tickets: a connection lasts for days, and every one logs in. Records have their full size from the first byte on, and travel many at a time (gather.go). Suites of AES-GCM are taken
// when both machines do it in hardware, which is crypto/tls's own choice. One connection carried 0.5 to 1.0 GB/s over loopback, with both
// ends on two cores of an EPYC that had other work too, and a login took 1.2 to 2.0 ms there (BenchmarkThroughput, BenchmarkLogin).
package channel

import (
	"context"
	"crypto/hmac"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	// protocol is told by ALPN: a server of anything else refuses in the handshake.
	protocol = "sersync/1"
	// longest is what a login may take when the caller's context allows more. A peer that says nothing is given up after it.
	longest = time.Minute
)

// Login is what a sender has to say.
type Login struct {
	// Module is what the receiver calls the tree that is written to.
	Module string
	// User and Secret are both set, or neither for a module without users. The secret is taken as it is, with
	// every byte; it stays the caller's. With Certificate the user may do without a secret.
	User   string
	Secret []byte
	// CA, when not nil, must have signed the certificate of the receiver for ServerName. Without it any certificate will do.
	CA         *x509.CertPool
	ServerName string
	// Certificate is shown to a receiver that asks for one, which CA must have signed then.
	Certificate *tls.Certificate
}

// Client secures conn and logs in. What is written first to the connection that it returns travels together with the end of the login.
// The context is for the login alone. With an error, conn is closed; it is an *Error, or the context's own when that was cancelled.
func Client(ctx context.Context, conn net.Conn, l Login) (net.Conn, error) {
	s := &secured{below: &gather{Conn: conn}}
	err := bounded(ctx, conn, func(context.Context) (err error) {
		if err = l.check(); err == nil {
			s.Conn, err = l.in(s.below)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("log in to module %q: %w", l.Module, err)
	}
	s.below.ahead = true
	return s, nil
}

// bounded runs a login, which the end of ctx ends at once by closing conn. So does a failure.
func bounded(ctx context.Context, conn net.Conn, login func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := login(ctx)
	var known *Error
	if !stop() && !errors.As(err, &known) {
		err = ctx.Err() // conn is closed, whatever the login came to
	}
	if err == nil {
		return nil
	}
	conn.Close()
	return classified(err)
}

func (l Login) check() error {
	switch {
	case l.Module == "" || len(l.Module) > maxName || len(l.User) > maxName:
		return &Error{Kind: Misconfigured, Text: fmt.Sprintf("name of module or user is empty or longer than %d bytes", maxName)}
	case l.Certificate != nil && l.CA == nil:
		return &Error{Kind: Misconfigured, Text: "there is a certificate of the target, but nothing to know the receiver by: give the target its authority"}
	case l.User != "" && len(l.Secret) == 0 && l.Certificate == nil:
		return &Error{Kind: Misconfigured, Text: fmt.Sprintf("user %q has no secret: give the target its password file", l.User)}
	case l.User == "" && len(l.Secret) != 0:
		return &Error{Kind: Misconfigured, Text: "there is a secret, but no user: give the target its user"}
	case l.CA != nil && l.ServerName == "":
		return &Error{Kind: Misconfigured, Text: "certificate is to be verified, but the name of the receiver is empty"}
	}
	return nil
}

func (l Login) in(conn net.Conn) (*tls.Conn, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		// Who the receiver is, it proves by the secret.
		InsecureSkipVerify:          l.CA == nil,
		RootCAs:                     l.CA,
		ServerName:                  l.ServerName,
		DynamicRecordSizingDisabled: true,
	}
	if l.Certificate != nil {
		config.Certificates = []tls.Certificate{*l.Certificate}
	}
	c := tls.Client(conn, config)
	if err := handshake(c); err != nil {
		return nil, err
	}
	h := hello{versions: ours(), module: l.Module, user: l.User}
	var r run
	if len(l.Secret) > 0 {
		var err error
		if r, err = newRun(c, h, l.Secret); err != nil {
			return nil, err
		}
		h.share = r.own.public[:]
	}
	sent := h.encode()
	if err := writeFrame(c, sent); err != nil {
		return nil, err
	}
	b, err := readFrame(c, maxAnswer)
	if err != nil {
		return nil, err
	}
	a, err := parseAnswer(b)
	if err != nil {
		return nil, err
	}
	return c, l.finish(c, r, sent, a)
}

// finish judges the answer, and proves the secret when the receiver has done so.
func (l Login) finish(c *tls.Conn, r run, sent []byte, a answer) error {
	secret := len(l.Secret) > 0
	switch {
	case a.status == statusRefused:
		return a.refusal()
	case a.version < ours().min || a.version > ours().max:
		return &Error{Kind: Foreign, Text: fmt.Sprintf("receiver chose version %d of the login, which it was not offered", a.version)}
	case a.status == statusOpen && secret:
		return &Error{Kind: NoProof, Text: "receiver asks for no secret, though the target has one: it may not be the one that is meant; " +
			"if it is, give the module its users, or take user and secret from the target"}
	case a.status == statusOpen:
		return nil
	case !secret:
		return &Error{Kind: Foreign, Text: "receiver proves a secret that it was not asked for"}
	}
	t, err := r.tags(a.share, transcriptIR(r.own.public[:], sent, a.share[:], a.head()))
	if err != nil {
		return &Error{Kind: Foreign, Err: err}
	}
	if !hmac.Equal(a.proof, t.receiver) {
		return &Error{Kind: WrongLogin, Text: fmt.Sprintf("wrong user or secret of user %q, or the peer is not the receiver that is meant", l.User)}
	}
	return writeFrame(c, t.sender)
}

func handshake(c *tls.Conn) error {
	if err := c.Handshake(); err != nil {
		return handshakeError(err)
	}
	if c.ConnectionState().NegotiatedProtocol != protocol {
		return &Error{Kind: Foreign, Text: "peer speaks TLS, but not sersync", Err: errors.New("no protocol was agreed on")}
	}
	return nil
}
