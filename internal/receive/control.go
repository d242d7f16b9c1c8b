package receive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxMessage is more than any message has, in bytes.
	maxMessage = 16 << 10
	// sendPatience is how long a process may leave what it is told unread.
	sendPatience = 10 * time.Second
)

// kind says what a message is. A process that gets one it does not expect ends the conversation.
type kind string

const (
	// ready: the process is locked in, and may be given its configuration.
	kindReady kind = "ready"
	// ask: may somebody from this address log in to the module? The answer has no stream.
	kindAsk kind = "ask"
	// open: this user logged in; the answer carries a stream to the module.
	kindOpen kind = "open"
	// answer: to ask and open, by ID.
	kindAnswer kind = "answer"
	// serve: the stream is of a client. To the process of a module.
	kindServe kind = "serve"
	// ended: the session with the ID is over. From the process of a module.
	kindEnded kind = "ended"
	// moved: the directory has lost its name, and nothing is written any more. From the process of a module.
	kindMoved kind = "moved"
)

// message is what the processes tell each other. What comes from a front or a module is believed in nothing.
type message struct {
	Kind kind   `json:"kind"`
	ID   uint64 `json:"id,omitempty"`
	// Module is that of ask and open.
	Module string `json:"module,omitempty"`
	// User and Address are the client's; Address is ADDRESS:PORT.
	User    string `json:"user,omitempty"`
	Address string `json:"address,omitempty"`
	// ReadOnly is that of serve.
	ReadOnly string `json:"read_only,omitempty"`
	// Refusal is that of an answer; nil is a yes.
	Refusal *Refusal `json:"refusal,omitempty"`
}

// control is one end of a conversation with another process, over which descriptors can be handed.
type control struct {
	conn *net.UnixConn
	mu   sync.Mutex // held while a message is written
}

// newControl makes a conversation; the file is the other process's end.
func newControl() (*control, *os.File, error) {
	own, other, err := socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, err
	}
	c, err := controlOf(own)
	if err != nil {
		other.Close()
		return nil, nil, err
	}
	return c, other, nil
}

// controlOf takes over the file.
func controlOf(file *os.File) (*control, error) {
	conn, err := streamOf(file)
	if err != nil {
		return nil, err
	}
	return &control{conn: conn}, nil
}

// streamOf takes over the file, a socket.
func streamOf(file *os.File) (*net.UnixConn, error) {
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("use socket %q: %w", file.Name(), err)
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("use socket %q: it is no unix socket", file.Name())
	}
	return unixConn, nil
}

func socketpair(kind int) (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// send sends a message, and with it a descriptor when there is one.
func (c *control) send(m message, file *os.File) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(text) > maxMessage {
		return fmt.Errorf("encode message: it has more than %d bytes", maxMessage)
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return err
	}
	_, _, err = c.conn.WriteMsgUnix(text, rights, nil)
	return err
}

// receive waits for a message. It is io.EOF when the other side has said all it will.
func (c *control) receive() (message, *os.File, error) {
	text, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(text, oob)
	if err != nil {
		var m message
		if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) {
			err = io.EOF
		}
		return m, nil, err
	}
	file, err := fileOf(oob[:oobn])
	var m message
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("receive message: it is too long")
	}
	if err == nil {
		err = json.Unmarshal(text[:n], &m)
	}
	if err != nil && file != nil {
		file.Close()
		file = nil
	}
	return m, file, err
}

// fileOf is the descriptor that came with a message. More than one are closed: nobody sends them.
func fileOf(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("receive descriptor: %w", err)
	}
	var file *os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if file != nil {
				unix.Close(fd)
				continue
			}
			file = os.NewFile(uintptr(fd), "stream")
		}
	}
	return file, nil
}

// finish tells the other side that nothing more will come.
func (c *control) finish() { _ = c.conn.CloseWrite() }

func (c *control) close() { c.conn.Close() }

// caller asks the other side and waits for its answers.
type caller struct {
	control *control
	mu      sync.Mutex
	last    uint64                  // guarded by mu
	waiting map[uint64]chan<- reply // guarded by mu
}

// reply is what came back.
type reply struct {
	refusal *Refusal
	stream  *os.File
}

// call asks, and waits for the answer. A refusal is the error.
func (c *caller) call(ctx context.Context, m message) (*os.File, error) {
	back := make(chan reply, 1)
	c.mu.Lock()
	c.last++
	m.ID = c.last
	c.waiting[m.ID] = back
	c.mu.Unlock()
	err := c.control.send(m, nil)
	if err == nil {
		select {
		case a := <-back:
			if a.refusal != nil {
				return nil, a.refusal
			}
			return a.stream, nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	c.mu.Lock()
	delete(c.waiting, m.ID)
	c.mu.Unlock()
	select {
	case a := <-back: // it came in between
		if a.stream != nil {
			a.stream.Close()
		}
	default:
	}
	return nil, err
}

// answered hands an answer to who waits for it.
func (c *caller) answered(m message, stream *os.File) {
	c.mu.Lock()
	back := c.waiting[m.ID]
	delete(c.waiting, m.ID)
	c.mu.Unlock()
	if back != nil {
		back <- reply{m.Refusal, stream}
	} else if stream != nil {
		stream.Close()
	}
}
