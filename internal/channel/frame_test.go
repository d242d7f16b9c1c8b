package channel

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestHellosThatAreNone(t *testing.T) {
	good := hello{versions: ours(), share: bytes.Repeat([]byte{1}, shareSize), module: "www", user: "rsync"}.encode()
	frame := func(n int, b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(n)), b...) }
	for name, tt := range map[string]struct {
		bytes []byte
		kind  Kind
	}{
		"nothing":         {nil, Broken},
		"half a length":   {[]byte{0}, Broken},
		"truncated":       {frame(len(good), good[:len(good)-1]), Broken},
		"longest":         {frame(0xffff, nil), Foreign},
		"over the limit":  {frame(maxHello+1, nil), Foreign},
		"empty":           {frame(0, nil), Foreign},
		"no fields":       {frame(2, good[:2]), Foreign},
		"a field short":   {frame(len(good)-1, good[:len(good)-1]), Foreign},
		"no module":       {frame(5, []byte{1, 1, 0, 0, 0}), Foreign},
		"share too short": {frame(8, []byte{1, 1, 1, 9, 1, 'm', 1, 'u'}), Foreign},
		"share is none":   {frame(len(good), bytes.ReplaceAll(good, []byte{1, 1, 1, 1}, []byte{0xff, 0xff, 0xff, 0xff})), Foreign},
		"http":            {[]byte("GET / HTTP/1.1\r\n\r\n"), Foreign},
	} {
		t.Run(name, func(t *testing.T) {
			addr, arrivals := receiver(t, nil)
			c := tlsTo(t, addr)
			c.Write(tt.bytes)
			c.CloseWrite()
			wantKind(t, await(t, arrivals).err, tt.kind)
		})
	}
}

func TestOlderTLSAndOtherProtocolsAreRefused(t *testing.T) {
	for name, config := range map[string]*tls.Config{
		"TLS 1.2":        {MaxVersion: tls.VersionTLS12, NextProtos: []string{protocol}},
		"h2":             {NextProtos: []string{"h2"}},
		"no protocol":    {},
		"later protocol": {NextProtos: []string{"sersync/2"}},
	} {
		addr, arrivals := receiver(t, nil)
		config.InsecureSkipVerify = true
		c := tls.Client(dial(t, addr), config)
		c.Handshake()
		var e *Error
		if err := await(t, arrivals).err; !errors.As(err, &e) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

func TestVersionsOfTheLogin(t *testing.T) {
	for _, tt := range []struct {
		a, b versions
		want uint8
		ok   bool
	}{
		{versions{1, 1}, versions{1, 1}, 1, true},
		{versions{1, 3}, versions{2, 9}, 3, true},
		{versions{2, 9}, versions{1, 3}, 3, true},
		{versions{1, 1}, versions{2, 3}, 1, false},
		{versions{4, 9}, versions{1, 3}, 3, false},
		{versions{3, 1}, versions{1, 9}, 1, false},
	} {
		if got, ok := tt.a.common(tt.b); got != tt.want && tt.ok || ok != tt.ok {
			t.Errorf("%v and %v: %d, %v, want %d, %v", tt.a, tt.b, got, ok, tt.want, tt.ok)
		}
	}
}

func TestOlderReceiverUnderstandsANewerSender(t *testing.T) {
	addr, arrivals := receiver(t, nil)
	c, _, _, proofs := loginByHand(t, addr, versions{1, 7}, "rsync", []byte(secret), "fields of a later version")
	mustSend(t, c, proofs.sender)
	if a := await(t, arrivals); a.err != nil {
		t.Error(a.err)
	}
}

func TestSidesWithoutACommonVersionSayWhichIsOlder(t *testing.T) {
	// A sender of the future, with a hello of which only the versions are understood.
	addr, arrivals := receiver(t, nil)
	c := tlsTo(t, addr)
	mustSend(t, c, []byte{8, 9, 0xff})
	a, err := parseAnswer(mustRead(t, c))
	if err != nil || a.kind != Version || a.versions != ours() {
		t.Errorf("answer %+v, %v", a, err)
	}
	wantKind(t, await(t, arrivals).err, Version, "versions 8 to 9", "update this side")

	// A receiver of the past.
	old := forged(t, func(c *tls.Conn) {
		readFrame(c, maxHello)
		writeFrame(c, answer{status: statusRefused, versions: versions{0, 0}, kind: Version}.encode())
		io.Copy(io.Discard, c)
	})
	_, err = Client(within(t), dial(t, old), rightLogin())
	wantKind(t, err, Version, "versions 0 to 0", "update the other side")
}

func FuzzHello(f *testing.F) {
	f.Add(hello{versions: ours(), share: make([]byte, shareSize), module: "www", user: "rsync"}.encode())
	f.Add(hello{versions: ours(), module: strings.Repeat("m", maxName)}.encode())
	f.Add([]byte{1, 9, 0, 1, 'm', 0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, version, err := parseHello(b)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v is none of the kinds", err)
			}
			return
		}
		if version != 1 || h.module == "" || len(h.share) != 0 && len(h.share) != shareSize {
			t.Fatalf("hello %+v of version %d", h, version)
		}
		if again := h.encode(); !bytes.HasPrefix(b, again) {
			t.Fatalf("%x was read as %x", b, again)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(answer{status: statusRefused, versions: ours(), kind: Busy, text: "4 of 4"}.encode())
	f.Add(answer{status: statusOpen, version: 1}.encode())
	f.Add(answer{status: statusProof, version: 1, proof: make([]byte, tagSize)}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b)
		if err != nil {
			return
		}
		if a.status == statusRefused {
			if err := a.refusal(); err.Error() == "" || len(err.Error()) > maxText+200 {
				t.Fatalf("refusal %q", err)
			}
			return
		}
		if again := a.encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x was read as %x", b, again)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 3, 'a', 'b', 'c', 'd'})
	f.Add([]byte{0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 64
		r := bytes.NewReader(b)
		got, err := readFrame(r, limit)
		if err != nil {
			return
		}
		if len(got) > limit {
			t.Fatalf("frame of %d bytes", len(got))
		}
		var again bytes.Buffer
		writeFrame(&again, got)
		rest, _ := io.ReadAll(r)
		if diff := cmp.Diff(b, append(again.Bytes(), rest...)); diff != "" {
			t.Fatalf("bytes were lost:\n%s", diff)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("busy\x1b[2J\xff界")
	f.Add(strings.Repeat("界", maxText))
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if len(got) > maxText || !utf8.ValidString(got) {
			t.Fatalf("%q: %d bytes", got, len(got))
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q holds %q", got, r)
			}
		}
	})
}
