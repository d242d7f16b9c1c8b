package channel

import (
	"crypto/sha512"
	"errors"

	"github.com/bwesterb/go-ristretto"
)

// This file is CPace with clear roles, suite CPACE-RISTR255-SHA512 of draft-irtf-cfrg-cpace, and no more than that. The names are
// those of the draft; its vectors are the tests. The sender of a login is its initiator A, the receiver its responder B.

const (
	dsi = "CPaceRistretto255"
	// shareSize is that of an encoded group element: Ya and Yb.
	shareSize = 32
)

// errBadShare is the abort that the draft demands: no group element, or one whose product is the neutral element, with which
// the key would be known to anybody.
var errBadShare = errors.New("the peer's key share is no valid group element")

// share is one side's part of a run: a scalar that is used once, and its multiple of the generator, which is sent.
type share struct {
	y      *ristretto.Scalar
	public [shareSize]byte
}

// newShare takes the scalar from the caller, for the vectors; else it is from randomScalar.
func newShare(y *ristretto.Scalar, prs, ci, sid []byte) share {
	s := share{y: y}
	new(ristretto.Point).ScalarMult(generator(prs, ci, sid), y).BytesInto(&s.public)
	return s
}

func randomScalar() *ristretto.Scalar { return new(ristretto.Scalar).Rand() }

// generator is G.calculate_generator: the secret never leaves this function but as a point that nobody knows the logarithm of.
// DeriveDalek is the element derivation of RFC 9496 from the SHA-512 of its argument.
func generator(prs, ci, sid []byte) *ristretto.Point {
	return new(ristretto.Point).DeriveDalek(generatorString(prs, ci, sid))
}

// generatorString pads the secret to the first block of the hash, so that the time of hashing does not tell how long it is.
func generatorString(prs, ci, sid []byte) []byte {
	padding := max(0, sha512.BlockSize-1-len(lvCat(prs))-len(lvCat([]byte(dsi))))
	return lvCat([]byte(dsi), prs, make([]byte, padding), ci, sid)
}

// isk is the intermediate session key: the same on both sides only if secret, channel identifier, session and transcript are.
func (s share) isk(peer [shareSize]byte, sid, transcript []byte) ([]byte, error) {
	k, err := scalarMultVfy(s.y, peer)
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(append(lvCat([]byte(dsi+"_ISK"), sid, k[:]), transcript...))
	return sum[:], nil
}

func scalarMultVfy(y *ristretto.Scalar, encoded [shareSize]byte) (k [shareSize]byte, err error) {
	var p, product ristretto.Point
	if !p.SetBytes(&encoded) {
		return k, errBadShare
	}
	product.ScalarMult(&p, y).BytesInto(&k)
	if k == [shareSize]byte{} { // the encoding of the neutral element
		return k, errBadShare
	}
	return k, nil
}

func transcriptIR(ya, ada, yb, adb []byte) []byte {
	return lvCat(ya, ada, yb, adb)
}

// lvCat puts its length before each string, in LEB128: no two lists of strings give the same bytes.
func lvCat(list ...[]byte) []byte {
	var b []byte
	for _, s := range list {
		n := len(s)
		for ; n >= 0x80; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		b = append(append(b, byte(n)), s...)
	}
	return b
}
