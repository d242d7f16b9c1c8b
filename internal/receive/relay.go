package receive

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// relayBuffer is what is copied at once, in bytes.
	relayBuffer = 256 << 10
	// linger is how long a client may take to read the last word. Closed at once, what it still sends would have it thrown away unread.
	linger = 2 * time.Second
)

// errWrite says which side of a copy failed.
var errWrite = errors.New("write failed")

// relay copies both ways. A client that has said all may still be answered; when the session of the module is over,
// so is the connection.
func relay(client, module net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		err := pass(module, client)
		switch {
		case errors.Is(err, errWrite):
			// The module is gone, and its last word is on its way. That side sets the time for this.
			_, _ = io.Copy(io.Discard, client)
		case err == nil:
			closeWrite(module)
		default:
			module.Close()
		}
	})
	both.Go(func() {
		err := pass(client, module)
		if err != nil || !closeWrite(client) || client.SetReadDeadline(time.Now().Add(linger)) != nil {
			module.Close()
			client.Close()
		}
	})
	both.Wait()
}

// pass copies until from has said all, which is no error.
func pass(to io.Writer, from io.Reader) error {
	buffer := make([]byte, relayBuffer)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return errors.Join(errWrite, err)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// closeWrite says that nothing more will come; false when it cannot be said.
func closeWrite(conn net.Conn) bool {
	half, ok := conn.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
