package channel

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bwesterb/go-ristretto"
)

func rightLogin() Login { return Login{Module: "www", User: "rsync", Secret: []byte(secret)} }

// tlsTo is the TLS of a sender; what is said in it is for the test.
func tlsTo(t *testing.T, addr net.Addr) *tls.Conn {
	t.Helper()
	c := tls.Client(dial(t, addr), &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{protocol}, InsecureSkipVerify: true})
	if err := c.HandshakeContext(within(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// forged is a receiver of our own, which does to the connection of one sender what it is told.
func forged(t *testing.T, do func(*tls.Conn)) net.Addr {
	t.Helper()
	s, err := NewServer(house, Certificates{})
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if c := tls.Server(conn, s.tls); c.Handshake() == nil {
			do(c)
		}
	}()
	return l.Addr()
}

func mustRead(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := readFrame(r, maxHello)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustSend(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if err := writeFrame(w, b); err != nil {
		t.Fatal(err)
	}
}

func both(a, b io.ReadWriteCloser) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(a, b)
		a.Close()
	}()
	io.Copy(b, a)
	b.Close()
	<-done
}

func TestRelayThatEndsTLSInTheMiddleFailsOnBothSides(t *testing.T) {
	addr, arrivals := receiver(t, nil)
	upstream := tlsTo(t, addr)
	relay := forged(t, func(c *tls.Conn) { both(c, upstream) })
	_, err := Client(within(t), dial(t, relay), rightLogin())
	wantKind(t, err, WrongLogin)
	wantKind(t, await(t, arrivals).err, WrongLogin)

	// The same relay lets a login through that it can only pass on as it is.
	l, upstreamConn := listen(t), dial(t, addr)
	go func() {
		if c, err := l.Accept(); err == nil {
			both(c, upstreamConn)
		}
	}()
	c, err := Client(within(t), dial(t, l.Addr()), rightLogin())
	if err != nil {
		t.Fatal(err)
	}
	if a := await(t, arrivals); a.err != nil {
		t.Error(a.err)
	}
	c.Close()
}

func TestRecordedLoginCannotBeReplayed(t *testing.T) {
	addr, arrivals := receiver(t, nil)

	// A sender records its own login, in clear: more than any listener gets.
	c, sent, received, proofs := loginByHand(t, addr, ours(), "rsync", []byte(secret), "")
	mustSend(t, c, proofs.sender)
	if a := await(t, arrivals); a.err != nil {
		t.Fatal(a.err)
	}

	// To the receiver,
	again := tlsTo(t, addr)
	mustSend(t, again, sent)
	if bytes.Equal(mustRead(t, again), received) {
		t.Error("receiver gave the same answer twice")
	}
	mustSend(t, again, proofs.sender)
	wantKind(t, await(t, arrivals).err, WrongLogin)

	// and to a sender.
	player := forged(t, func(c *tls.Conn) {
		readFrame(c, maxHello)
		writeFrame(c, received)
		io.Copy(io.Discard, c)
	})
	_, err := Client(within(t), dial(t, player), rightLogin())
	wantKind(t, err, WrongLogin)
}

// What a forged receiver has in its hands after a wrong guess is the hello alone, and in it only Ya comes from the secret: a group element
// that some scalar makes from every secret.
func TestForgedReceiverGetsNothingButAHello(t *testing.T) {
	guess := func(c *tls.Conn, h hello, said []byte, word string) answer {
		r, err := newRun(c, h, []byte(word))
		if err != nil {
			t.Error(err)
		}
		a := answer{status: statusProof, version: 1, share: r.own.public}
		proofs, err := r.tags([shareSize]byte(h.share), transcriptIR(h.share, said, a.share[:], a.head()))
		if err != nil {
			t.Error(err)
		}
		a.proof = proofs.receiver
		return a
	}
	none := make([]byte, tagSize)
	for name, tt := range map[string]struct {
		answer func(*tls.Conn, hello, []byte) answer
		kind   Kind
	}{
		"wrong guess": {func(c *tls.Conn, h hello, said []byte) answer { return guess(c, h, said, "hunter2") }, WrongLogin},
		"right share without a proof": {func(c *tls.Conn, h hello, said []byte) answer {
			a := guess(c, h, said, secret)
			a.proof = none
			return a
		}, WrongLogin},
		"share sent back": {func(_ *tls.Conn, h hello, _ []byte) answer {
			return answer{status: statusProof, version: 1, share: [shareSize]byte(h.share), proof: none}
		}, WrongLogin},
		"neutral element": {func(*tls.Conn, hello, []byte) answer {
			return answer{status: statusProof, version: 1, proof: none}
		}, Foreign},
		"no login": {func(*tls.Conn, hello, []byte) answer { return answer{status: statusOpen, version: 1} }, NoProof},
		"version that was not offered": {func(c *tls.Conn, h hello, said []byte) answer {
			a := guess(c, h, said, secret)
			a.version = 2
			return a
		}, Foreign},
		"wrong login, as it says": {func(*tls.Conn, hello, []byte) answer {
			return answer{status: statusRefused, kind: WrongLogin, text: "try another secret"}
		}, Denied},
	} {
		t.Run(name, func(t *testing.T) {
			rest := make(chan []byte, 1)
			addr := forged(t, func(c *tls.Conn) {
				said, err := readFrame(c, maxHello)
				if err != nil {
					t.Error(err)
				}
				h, _, err := parseHello(said)
				if err != nil {
					t.Error(err)
				}
				writeFrame(c, tt.answer(c, h, said).encode())
				b, _ := io.ReadAll(c)
				rest <- b
			})
			_, err := Client(within(t), dial(t, addr), rightLogin())
			wantKind(t, err, tt.kind)
			if b := await(t, rest); len(b) != 0 {
				t.Errorf("sender said %x after an answer that proved nothing", b)
			}
		})
	}
}

func TestHelloIsTheSameForEverySecretButForAFreshShare(t *testing.T) {
	seen := make(map[string]bool)
	for _, word := range []string{secret, secret, "a", "a much longer secret, so long that it fills the block of the hash, " + string(make([]byte, 200))} {
		said := make(chan []byte, 1)
		addr := forged(t, func(c *tls.Conn) {
			b, _ := readFrame(c, maxHello)
			said <- b
		})
		l := rightLogin()
		l.Secret = []byte(word)
		_, err := Client(within(t), dial(t, addr), l)
		wantKind(t, err, Broken)
		b := await(t, said)
		h, _, err := parseHello(b)
		if err != nil {
			t.Fatal(err)
		}
		var p ristretto.Point
		if !p.SetBytes((*[shareSize]byte)(h.share)) {
			t.Errorf("share %x is no group element", h.share)
		}
		if seen[string(h.share)] {
			t.Errorf("share %x came twice", h.share)
		}
		seen[string(h.share)] = true
		h.share = make([]byte, shareSize)
		if want := (hello{versions: ours(), share: h.share, module: "www", user: "rsync"}).encode(); !bytes.Equal(h.encode(), want) || len(b) != len(want) {
			t.Errorf("hello is %x, want %x but for the share", b, want)
		}
	}
}

// loginByHand is a sender that checks nothing. It has read the answer when it returns.
func loginByHand(t *testing.T, addr net.Addr, v versions, user string, word []byte, later string) (c *tls.Conn, sent, received []byte, proofs tags) {
	t.Helper()
	c = tlsTo(t, addr)
	h := hello{versions: v, module: "www", user: user}
	r, err := newRun(c, h, word)
	if err != nil {
		t.Fatal(err)
	}
	h.share = r.own.public[:]
	sent = append(h.encode(), later...)
	mustSend(t, c, sent)
	received = mustRead(t, c)
	a, err := parseAnswer(received)
	if err != nil || a.status != statusProof || a.version != 1 {
		t.Fatalf("answer %+v, %v", a, err)
	}
	proofs, err = r.tags(a.share, transcriptIR(h.share, sent, a.share[:], a.head()))
	if err != nil {
		t.Fatal(err)
	}
	return c, sent, received, proofs
}

// A guesser that goes without a word is a failed login too, and sees of a user that there is none what it sees of one that there is.
func TestUnknownUserIsAnsweredLikeAWrongGuess(t *testing.T) {
	addr, arrivals := receiver(t, nil)
	seen := make(map[string]bool)
	for i, user := range []string{"rsync", "nobody", "rsync", "nobody"} {
		c, _, received, _ := loginByHand(t, addr, ours(), user, []byte("guess"), "")
		if seen[string(received)] || len(received) != 2+shareSize+tagSize {
			t.Errorf("answer to %s is %x", user, received)
		}
		seen[string(received)] = true
		if i%2 == 0 { // by a reset
			c.NetConn().(*net.TCPConn).SetLinger(0)
			c.NetConn().Close()
		}
		c.Close()
		wantKind(t, await(t, arrivals).err, WrongLogin)
	}
}

func TestGuesserThatOnlyWaitsIsAFailedLogin(t *testing.T) {
	s, err := NewServer(house, Certificates{})
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]Kind{"before the answer": Timeout, "after the answer": WrongLogin} {
		synctest.Test(t, func(t *testing.T) {
			theirs, mine := net.Pipe()
			c := tls.Client(theirs, &tls.Config{NextProtos: []string{protocol}, InsecureSkipVerify: true})
			go func() {
				c.Handshake()
				if kind == WrongLogin {
					p := newShare(randomScalar(), []byte("guess"), nil, nil).public
					writeFrame(c, hello{versions: ours(), share: p[:], module: "www", user: "rsync"}.encode())
					readFrame(c, maxAnswer)
				}
			}()
			start := time.Now()
			_, _, err := s.Login(t.Context(), mine)
			wantKind(t, err, kind)
			if took := time.Since(start); took != longest {
				t.Errorf("%s: given up after %s", name, took)
			}
		})
	}
}

// The user that there is not has no secret that could be guessed, the empty one least of all.
func TestUnknownUserHasNoSecretAtAll(t *testing.T) {
	addr, arrivals := receiver(t, nil)
	for _, word := range [][]byte{nil, make([]byte, 32), []byte("nobody"), []byte(secret)} {
		c, _, _, proofs := loginByHand(t, addr, ours(), "nobody", word, "")
		mustSend(t, c, proofs.sender)
		wantKind(t, await(t, arrivals).err, WrongLogin)
	}
}

func TestEveryInputOfTheLoginIsBound(t *testing.T) {
	type input struct{ secret, module, user, sid, hello, head string }
	right := input{secret, "www", "rsync", "exported", "hello", "head"}
	y, z := randomScalar(), randomScalar()
	// sender and receiver agree on all but what the receiver is given here.
	proofs := func(in input) (sender, receiver tags) {
		mk := func(in input, y *ristretto.Scalar) run {
			return run{sid: []byte(in.sid), own: newShare(y, []byte(in.secret), channelID(in.module, in.user), []byte(in.sid))}
		}
		a, b := mk(right, y), mk(in, z)
		said := func(in input) []byte {
			return transcriptIR(a.own.public[:], []byte(in.hello), b.own.public[:], []byte(in.head))
		}
		sender, err := a.tags(b.own.public, said(right))
		if err != nil {
			t.Fatal(err)
		}
		receiver, err = b.tags(a.own.public, said(in))
		if err != nil {
			t.Fatal(err)
		}
		return sender, receiver
	}
	s, r := proofs(right)
	if !bytes.Equal(s.sender, r.sender) || !bytes.Equal(s.receiver, r.receiver) {
		t.Error("two right sides do not agree")
	}
	if bytes.Equal(s.sender, s.receiver) {
		t.Error("the proof of one side is that of the other")
	}
	for name, in := range map[string]input{
		"secret": {secret + "x", "www", "rsync", "exported", "hello", "head"},
		"module": {secret, "ww", "rsync", "exported", "hello", "head"},
		"user":   {secret, "www", "rsyn", "exported", "hello", "head"},
		"border": {secret, "wwwr", "sync", "exported", "hello", "head"},
		"sid":    {secret, "www", "rsync", "exporter", "hello", "head"},
		"hello":  {secret, "www", "rsync", "exported", "hell", "head"},
		"head":   {secret, "www", "rsync", "exported", "hello", "hea"},
	} {
		s, r := proofs(in)
		if bytes.Equal(s.sender, r.sender) || bytes.Equal(s.receiver, r.receiver) {
			t.Errorf("sides with another %s agree", name)
		}
	}
}
