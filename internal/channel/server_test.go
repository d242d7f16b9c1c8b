package channel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// authority is a CA of its own with a certificate for one name.
func authority(t *testing.T, name string) (*x509.CertPool, *tls.Certificate) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return made, key
	}
	template := func(n int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	root := template(1)
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	ca, caKey := sign(root, nil, nil)
	leaf := template(2)
	leaf.DNSNames, leaf.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	made, key := sign(leaf, ca, caKey)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return pool, &tls.Certificate{Certificate: [][]byte{made.Raw}, PrivateKey: key}
}

func TestCertificateOfAnOwnAuthority(t *testing.T) {
	pool, certificate := authority(t, "backup.example")
	otherPool, otherCertificate := authority(t, "backup.example")
	for name, tt := range map[string]struct {
		certificate *tls.Certificate
		pool        *x509.CertPool
		server      string
		ok          bool
	}{
		"right":             {certificate, pool, "backup.example", true},
		"not asked for":     {certificate, nil, "", true},
		"other name":        {certificate, pool, "web.example", false},
		"other authority":   {certificate, otherPool, "backup.example", false},
		"other certificate": {otherCertificate, pool, "backup.example", false},
		"self-signed":       {nil, pool, "backup.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			addr, arrivals := receiver(t, tt.certificate)
			l := rightLogin()
			l.CA, l.ServerName = tt.pool, tt.server
			_, err := Client(within(t), dial(t, addr), l)
			a := await(t, arrivals)
			if !tt.ok {
				wantKind(t, err, Certificate)
				wantKind(t, a.err, Foreign, "certificate")
				return
			}
			if err != nil || a.err != nil {
				t.Errorf("sender: %v; receiver: %v", err, a.err)
			}
		})
	}
	l := rightLogin()
	l.CA = pool
	addr, _ := receiver(t, certificate)
	_, err := Client(within(t), dial(t, addr), l)
	wantKind(t, err, Misconfigured, "name of the receiver")
}

func TestNoConnectionIsResumed(t *testing.T) {
	addr, arrivals := receiver(t, nil)
	config := &tls.Config{NextProtos: []string{protocol}, InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "x"}
	for range 2 {
		c := tls.Client(dial(t, addr), config)
		if err := writeFrame(c, hello{versions: ours(), module: "open"}.encode()); err != nil {
			t.Fatal(err)
		}
		mustRead(t, c)
		if c.ConnectionState().DidResume {
			t.Error("session was resumed")
		}
		c.Close()
		await(t, arrivals)
	}
}

func BenchmarkLogin(b *testing.B) {
	addr, arrivals := benchReceiver(b)
	for b.Loop() {
		c := benchClient(b, addr)
		(<-arrivals).Close()
		c.Close()
	}
}

// One connection over the loopback interface, in writes of 256 KiB.
func BenchmarkThroughput(b *testing.B) {
	addr, arrivals := benchReceiver(b)
	c := benchClient(b, addr)
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.Discard, <-arrivals)
	}()
	chunk := make([]byte, 256<<10)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := c.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	<-done
}

func benchReceiver(b *testing.B) (net.Addr, <-chan net.Conn) {
	s, err := NewServer(house, Certificates{})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	out := make(chan net.Conn)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			secured, _, err := s.Login(b.Context(), conn)
			if err != nil {
				b.Error(err)
			}
			out <- secured
		}
	}()
	return l.Addr(), out
}

func benchClient(b *testing.B, addr net.Addr) net.Conn {
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		b.Fatal(err)
	}
	c, err := Client(b.Context(), conn, rightLogin())
	if err != nil {
		b.Fatal(err)
	}
	return c
}
