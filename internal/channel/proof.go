package channel

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
)

const (
	// exporterLabel and the names below belong to version 1 of the login: another version has others.
	exporterLabel = "EXPORTER-sersync-login-1"
	loginName     = "sersync login 1"
	sidSize       = 32
	tagSize       = sha256.Size
)

// run is one side's half of the PAKE of one connection.
type run struct {
	sid []byte
	own share
}

// newRun binds the run to the connection, by the session identifier, and to who talks to whom about what, by the channel identifier.
// Everything that was said in it is bound by the transcript.
func newRun(c *tls.Conn, h hello, secret []byte) (run, error) {
	state := c.ConnectionState()
	sid, err := state.ExportKeyingMaterial(exporterLabel, nil, sidSize)
	if err != nil {
		return run{}, err
	}
	return run{sid: sid, own: newShare(randomScalar(), secret, channelID(h.module, h.user), sid)}, nil
}

func channelID(module, user string) []byte {
	return lvCat([]byte(loginName), []byte("sender"), []byte(user), []byte("receiver"), []byte(module))
}

// tags are the two proofs. They have a key each, so that neither can be sent back as the other.
type tags struct{ sender, receiver []byte }

func (r run) tags(peer [shareSize]byte, transcript []byte) (tags, error) {
	isk, err := r.own.isk(peer, r.sid, transcript)
	if err != nil {
		return tags{}, err
	}
	said := append(lvCat(r.sid), transcript...)
	sender, err := tag(isk, "sender", said)
	if err != nil {
		return tags{}, err
	}
	receiver, err := tag(isk, "receiver", said)
	return tags{sender: sender, receiver: receiver}, err
}

func tag(isk []byte, role string, said []byte) ([]byte, error) {
	key, err := hkdf.Key(sha512.New, isk, nil, loginName+" proof of the "+role, sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(said)
	return mac.Sum(nil), nil
}
