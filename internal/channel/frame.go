package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The messages of a login. Each is a frame: its length in two bytes, then so many. The two bytes with which a hello begins, and all of
// a refusal, are the same in every version of the login that there will ever be, and what follows in a hello after the fields
// that a version knows is for later ones. So any two versions can tell each other why they do not understand each other.

const (
	maxName = 255
	maxText = 512
	// maxHello leaves later versions room for fields of their own.
	maxHello  = 2048
	maxAnswer = 4 + maxText
)

// versions of the login, from the oldest to the newest that a side understands.
type versions struct{ min, max uint8 }

// ours grow with the login; min is raised when an old version is no longer understood.
func ours() versions { return versions{min: 1, max: 1} }

// common is the newest version that both understand.
func (v versions) common(w versions) (uint8, bool) {
	newest := min(v.max, w.max)
	return newest, newest >= max(v.min, w.min)
}

// hello is the sender's first message: the versions in two bytes; then each with one byte of length, the key share (or nothing: the sender has
// no secret), the module, the user.
type hello struct {
	versions
	share        []byte
	module, user string
}

func (h hello) encode() []byte {
	b := []byte{h.min, h.max}
	for _, field := range []string{string(h.share), h.module, h.user} {
		b = append(append(b, byte(len(field))), field...)
	}
	return b
}

// parseHello reads what follows the versions only if there is a version in common: other fields may be there then.
func parseHello(b []byte) (h hello, version uint8, err error) {
	if len(b) < 2 {
		return h, 0, malformed("hello")
	}
	h.versions = versions{b[0], b[1]}
	version, ok := ours().common(h.versions)
	if !ok {
		return h, 0, errVersion(h.versions)
	}
	b = b[2:]
	var fields [3][]byte
	for i := range fields {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return h, 0, malformed("hello")
		}
		end := 1 + int(b[0])
		fields[i], b = b[1:end], b[end:]
	}
	h.share, h.module, h.user = fields[0], string(fields[1]), string(fields[2])
	if h.module == "" || len(h.share) != 0 && len(h.share) != shareSize {
		return h, 0, malformed("hello")
	}
	return h, version, nil
}

// What an answer begins with.
const (
	statusRefused = iota // versions of the receiver, kind, text
	statusOpen           // version: the module asks for no secret
	statusProof          // version, key share, proof
)

// answer is the receiver's only message.
type answer struct {
	status uint8
	// version is what both speak from now on.
	version uint8
	share   [shareSize]byte
	proof   []byte
	// The rest is of a refusal.
	versions
	kind Kind
	text string
}

// head is the part of a proving answer that the key share is not in: the receiver's associated data of the PAKE.
func (a answer) head() []byte { return []byte{a.status, a.version} }

func (a answer) encode() []byte {
	if a.status == statusRefused {
		return append([]byte{a.status, a.min, a.max, byte(a.kind)}, a.text...)
	}
	b := a.head()
	if a.status == statusProof {
		b = append(append(b, a.share[:]...), a.proof...)
	}
	return b
}

func parseAnswer(b []byte) (answer, error) {
	switch {
	case len(b) >= 4 && b[0] == statusRefused:
		return answer{versions: versions{b[1], b[2]}, kind: Kind(b[3]), text: printable(string(b[4:]))}, nil
	case len(b) == 2 && b[0] == statusOpen:
		return answer{status: b[0], version: b[1]}, nil
	case len(b) == 2+shareSize+tagSize && b[0] == statusProof:
		return answer{status: b[0], version: b[1], share: [shareSize]byte(b[2:]), proof: b[2+shareSize:]}, nil
	}
	return answer{}, malformed("answer")
}

func malformed(what string) error {
	return &Error{Kind: Foreign, Text: "peer speaks TLS, but its " + what + " is not one of a sersync login"}
}

// writeFrame sends one message, in one record.
func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// readFrame reads one message and nothing beyond it: what follows the last one is of the session.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, cut(err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > limit {
		return nil, &Error{Kind: Foreign, Text: fmt.Sprintf("peer speaks TLS, but sends a message of %d bytes, and the longest of a sersync login has %d", n, limit)}
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, cut(err)
	}
	return b, nil
}

// cut names an end where a message should be.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Kind: Broken, Text: "peer closed the connection in the login", Err: io.ErrUnexpectedEOF}
	}
	return err
}
