package channel

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/bwesterb/go-ristretto"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func scalarOf(t *testing.T, s string) *ristretto.Scalar {
	t.Helper()
	return new(ristretto.Scalar).SetBytes((*[32]byte)(unhex(t, s)))
}

func same(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if w := unhex(t, want); !bytes.Equal(got, w) {
		t.Errorf("%s\n got %x\nwant %x", what, got, w)
	}
}

// The vectors of the draft's appendix "Test vector for CPace using group ristretto255 and hash SHA-512".
const (
	vectorSid = "7e4b4791d6a8ef019b936c79fb7f2c57"
	vectorCI  = "0b415f696e69746961746f720b425f726573706f6e646572"
	vectorYa  = "da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08"
	vectorYb  = "d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d"
)

func TestVectorsOfTheGenerator(t *testing.T) {
	prs, ci, sid := []byte("Password"), unhex(t, vectorCI), unhex(t, vectorSid)
	same(t, "generator string", generatorString(prs, ci, sid), `
		11435061636552697374726574746f3235350850617373776f726464`+strings.Repeat("00", 100)+`
		180b415f696e69746961746f720b425f726573706f6e646572107e4b4791d6a8ef019b936c79fb7f2c57`)
	same(t, "generator", generator(prs, ci, sid).Bytes(), "222b6b195fe84b1652badb6f6a3ae3d24341e7306967f0b8115b40d5698c7e56")
}

func TestVectorsOfARun(t *testing.T) {
	prs, ci, sid := []byte("Password"), unhex(t, vectorCI), unhex(t, vectorSid)
	a := newShare(scalarOf(t, vectorYa), prs, ci, sid)
	b := newShare(scalarOf(t, vectorYb), prs, ci, sid)
	same(t, "Ya", a.public[:], "d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157")
	same(t, "Yb", b.public[:], "3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258")

	k, err := scalarMultVfy(a.y, b.public)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "K", k[:], "80b69a8a76457ab6a4d7f887a4bf6b55a2f80ac19c333f917a05fc9887c8b40f")

	transcript := transcriptIR(a.public[:], []byte("ADa"), b.public[:], []byte("ADb"))
	same(t, "transcript", transcript, `
		20d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b915703414461
		203ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f725803414462`)
	const want = `b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd
		2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447`
	for name, run := range map[string]struct {
		own  share
		peer [shareSize]byte
	}{"A": {a, b.public}, "B": {b, a.public}} {
		key, err := run.own.isk(run.peer, sid, transcript)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "ISK of "+name, key, want)
	}
}

func TestVectorsOfScalarMultVfy(t *testing.T) {
	s := scalarOf(t, "7cd0e075fa7955ba52c02759a6c90dbbfc10e6d40aea8d283e407d88cf538a05")
	k, err := scalarMultVfy(s, [shareSize]byte(unhex(t, "2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c")))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "product", k[:], "7c13645fe790a468f62c39beb7388e541d8405d1ade69d1778c5fe3e7f6b600e")

	for name, bad := range map[string]string{
		"no group element":    "2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c",
		"neutral element":     strings.Repeat("00", 32),
		"not canonical":       "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"negative":            "0100000000000000000000000000000000000000000000000000000000000000",
		"high bit is ignored": "2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a59c",
	} {
		if _, err := scalarMultVfy(s, [shareSize]byte(unhex(t, bad))); !errors.Is(err, errBadShare) {
			t.Errorf("%s: %v, want an abort", name, err)
		}
	}
}

func TestVectorsOfStrings(t *testing.T) {
	long := make([]byte, 128)
	for i := range long {
		long[i] = byte(i)
	}
	same(t, "empty", lvCat(nil), "00")
	same(t, "127 bytes", lvCat(long[:127])[:3], "7f0001")
	same(t, "128 bytes", lvCat(long)[:4], "80010001")
	same(t, "several", lvCat([]byte("1234"), []byte("5"), nil, []byte("678")), "043132333401350003363738")
	same(t, "transcript", transcriptIR([]byte("3456"), []byte("PartyA"), []byte("2345"), []byte("PartyB")),
		"043334353606506172747941043233343506506172747942")
}
