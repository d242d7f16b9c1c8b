package channel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"unicode"
)

// Kind is why a login failed. Its numbers are sent, so they never change.
type Kind uint8

const (
	// Broken: the connection failed or was cut. Trying again may help.
	Broken Kind = 0
	// WrongLogin: user or secret are wrong; which of them, nobody can tell. A relay and a forged receiver look the same.
	WrongLogin Kind = 1
	// NoModule: the receiver has no module of this name.
	NoModule Kind = 2
	// Denied: the receiver wants nothing of us, for the reason in its text.
	Denied Kind = 3
	// Busy: the module has as many connections as it allows. Trying again will help.
	Busy Kind = 4
	// NeedsLogin: the module has users, and the target has neither user nor secret.
	NeedsLogin Kind = 5
	// Version: there is no version of the login that both sides understand.
	Version Kind = 6
	// NoProof: the target has a secret, and the receiver does not ask for it. See the package comment.
	NoProof Kind = 7
	// Foreign: the peer does not speak sersync.
	Foreign Kind = 8
	// Certificate: the certificate of the receiver is not signed by the authority that was given.
	Certificate Kind = 9
	// Timeout: the peer said nothing for too long.
	Timeout Kind = 10
	// Misconfigured: our own side is wrong; nothing was sent.
	Misconfigured Kind = 11
)

// Error is why a login failed. It never holds a secret or anything made from one.
type Error struct {
	Kind Kind
	// Text is for a person, with the remedy when there is one. What a peer said is quoted in it, bounded, and made printable.
	Text string
	// Err is what the connection said; nil when Text says it all.
	Err error
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Text
	case e.Text == "":
		return e.Err.Error()
	}
	return e.Text + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Refuse is what an Auth returns to send a client away with a reason of one of the kinds NoModule, Denied and Busy.
// The text is sent to a peer that has proved nothing yet.
func Refuse(kind Kind, text string) error { return &Error{Kind: kind, Text: text} }

func errVersion(peer versions) error {
	older := "the other side"
	if peer.min > ours().max {
		older = "this side"
	}
	return &Error{Kind: Version, Text: fmt.Sprintf("peer speaks versions %d to %d of the login, this sersync %d to %d: update %s",
		peer.min, peer.max, ours().min, ours().max, older)}
}

// refusal is the error that a sender makes of a receiver's refusal. Kinds that it does not know, or that are
// not for a receiver to say, are Denied: a forged receiver shall not choose how this side behaves.
func (a answer) refusal() error {
	said := ""
	if a.text != "" {
		said = ": " + a.text
	}
	switch a.kind {
	case NoModule:
		return &Error{Kind: NoModule, Text: "receiver has no such module" + said}
	case Busy:
		return &Error{Kind: Busy, Text: "receiver is busy" + said}
	case NeedsLogin:
		return &Error{Kind: NeedsLogin, Text: "module wants a user and a secret: give the target both" + said}
	case Version:
		return errVersion(a.versions)
	}
	return &Error{Kind: Denied, Text: "receiver refuses" + said}
}

// classified gives an error of the connection its kind.
func classified(err error) error {
	var known *Error
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Kind: Timeout, Text: "peer did not answer in time", Err: err}
	}
	return &Error{Kind: Broken, Err: err}
}

// handshakeError says what answers there instead, when that can be seen.
func handshakeError(err error) error {
	var (
		header tls.RecordHeaderError
		cert   *tls.CertificateVerificationError
		remote *net.OpError
	)
	switch {
	case errors.As(err, &header):
		return &Error{Kind: Foreign, Text: "peer speaks " + spoken(header.RecordHeader) + ", not sersync (is this the port of sersync receive?)", Err: err}
	case errors.As(err, &cert):
		return &Error{Kind: Certificate, Text: "receiver's certificate is not accepted", Err: err}
	case errors.As(err, &remote) && remote.Op == "remote error":
		return &Error{Kind: Foreign, Text: "peer speaks TLS, and refuses what sersync needs of it (TLS 1.3, protocol " + protocol + ")", Err: err}
	case errors.Is(err, io.EOF):
		return &Error{Kind: Broken, Text: "peer closed the connection in the TLS handshake", Err: io.ErrUnexpectedEOF}
	}
	return err
}

// spoken names the protocol that begins like this.
func spoken(head [5]byte) string {
	switch s := string(head[:]); s {
	case "@RSYN":
		return "rsync"
	case "HTTP/", "GET /", "POST ", "HEAD ":
		return "HTTP"
	case "SSH-2", "SSH-1":
		return "ssh"
	default:
		return fmt.Sprintf("no TLS (it begins with %q)", s)
	}
}

// printable is what a peer said, for a terminal or a log: bounded, and without control characters.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	for i := range s { // cut between two characters
		if i > maxText-4 {
			return s[:i]
		}
	}
	return s
}
