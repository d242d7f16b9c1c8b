package receive

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a TCP connection, both ends; with TLS as a login makes it.
func pair(t testing.TB, secured bool) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	if !secured {
		return client, server
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := tls.Server(server, &tls.Config{
		MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	c := tls.Client(client, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c, s
}

// streams are both ends of what a broker hands out.
func streams(t testing.TB) (a, b net.Conn) {
	t.Helper()
	one, two, err := socketpair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	widen(one, two)
	if a, err = streamOf(one); err == nil {
		b, err = streamOf(two)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return a, b
}

// relayed is a client at one end of a relay and a module at the other; done is closed when it has ended.
func relayed(t testing.TB, secured bool) (client, module net.Conn, done <-chan struct{}) {
	t.Helper()
	client, server := pair(t, secured)
	front, module := streams(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		relay(server, front)
		server.Close()
		front.Close()
	}()
	return client, module, ended
}

func TestRelayEndsWithTheSession(t *testing.T) {
	for _, secured := range []bool{false, true} {
		client, module, done := relayed(t, secured)
		if _, err := module.Write([]byte("last word")); err != nil {
			t.Fatal(err)
		}
		module.Close()
		if got, err := io.ReadAll(client); err != nil || string(got) != "last word" {
			t.Errorf("client read %q, %v", got, err)
		}
		<-done // though the client closes nothing
	}
}

// A client that sends much more than anybody reads must still learn why it was sent away.
func TestLastWordReachesAClientThatStillSends(t *testing.T) {
	client, module, done := relayed(t, true)
	go io.Copy(client, zeros{})
	if _, err := io.ReadFull(module, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := module.Write([]byte("read only")); err != nil {
		t.Fatal(err)
	}
	module.Close()
	got := make([]byte, 9)
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "read only" {
		t.Errorf("client read %q, %v", got, err)
	}
	<-done
}

func TestClientThatHasSaidAllIsAnswered(t *testing.T) {
	client, module, done := relayed(t, true)
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	closeWrite(client)
	got, err := io.ReadAll(module)
	if err != nil || string(got) != "question" {
		t.Fatalf("module read %q, %v", got, err)
	}
	if _, err := module.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	module.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("client read %q, %v", got, err)
	}
	<-done
}

func TestLostClientEndsTheSession(t *testing.T) {
	client, module, done := relayed(t, false)
	if err := client.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if _, err := io.ReadAll(module); err != nil {
		t.Error(err)
	}
	<-done
}

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// spent is the time that this process has had of all processors.
func spent() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What the way through two processes costs, against one process that reads from TLS itself.
func BenchmarkBulk(b *testing.B) {
	const chunk = 1 << 20
	run := func(b *testing.B, client io.Writer, module io.Reader) {
		b.SetBytes(chunk)
		go func() {
			data := bytes.Repeat([]byte("x"), chunk)
			for {
				if _, err := client.Write(data); err != nil {
					return
				}
			}
		}()
		sink := make([]byte, 256<<10)
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(module, chunk), sink); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		before := spent()
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(module, chunk*int64(b.N)), sink); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((spent()-before).Seconds()*1000*1024/float64(b.N), "cpu-ms/GiB")
	}
	b.Run("direct", func(b *testing.B) {
		client, server := pair(b, true)
		run(b, client, server)
	})
	b.Run("relayed", func(b *testing.B) {
		client, module, _ := relayed(b, true)
		run(b, client, module)
	})
}

// A message of 100 bytes, and its answer.
func BenchmarkRoundTrip(b *testing.B) {
	run := func(b *testing.B, client, module net.Conn) {
		go io.CopyBuffer(struct{ io.Writer }{module}, struct{ io.Reader }{module}, make([]byte, 4096))
		message := make([]byte, 100)
		before := spent()
		for b.Loop() {
			if _, err := client.Write(message); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(client, message); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((spent()-before).Microseconds())/float64(b.N), "cpu-us/op")
	}
	b.Run("direct", func(b *testing.B) {
		client, server := pair(b, true)
		run(b, client, server)
	})
	b.Run("relayed", func(b *testing.B) {
		client, module, _ := relayed(b, true)
		run(b, client, module)
	})
}
