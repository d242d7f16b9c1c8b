package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"
)

// Certificates reads those of a target: the authority that its receiver is known by, and what this side shows. Both are nil where the target has none.
// Each login reads them anew, so a new certificate needs no restart. A key that others can read is refused.
func (t Target) Certificates() (ca *x509.CertPool, own *tls.Certificate, err error) {
	if t.CAFile == "" {
		return nil, nil, nil
	}
	data, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read ca_file: %w", err)
	}
	ca = x509.NewCertPool()
	if !ca.AppendCertsFromPEM(data) {
		return nil, nil, fmt.Errorf("read ca_file %q: there is no certificate in it, write it in PEM", t.CAFile)
	}
	if t.CertFile == "" {
		return ca, nil, nil
	}
	cert, err := os.ReadFile(t.CertFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read cert_file: %w", err)
	}
	key, err := readKey(t.KeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read key_file: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, nil, fmt.Errorf("use cert_file %q with key_file %q: %w", t.CertFile, t.KeyFile, err)
	}
	return ca, &pair, nil
}

// maxKey is more than a private key has, in bytes.
const maxKey = 1 << 20

// readKey reads a key that only its owner can read. What is read is checked, not the name, which may be another file by now.
func readKey(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxKey:
		return nil, fmt.Errorf("file %q is no key", name)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("file %q can be read or written by others: chmod 600 it", name)
	}
	data := make([]byte, info.Size())
	_, err = f.ReadAt(data, 0)
	return data, err
}

// checkCertificates refuses certificates that a login could not use.
func (r *report) checkCertificates(s Source, t Target) {
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		r.add(Error, t.Place, "a certificate without its key:", t.CertFile, "name the key: key_file, or --key FILE")
		return
	case t.CertFile == "" && t.KeyFile != "":
		r.add(Error, t.Place, "a key without its certificate:", t.KeyFile, "name the certificate: cert_file, or --cert FILE")
		return
	case t.CAFile == "" && t.CertFile != "":
		r.add(Error, t.Place, "a certificate of this side, and nothing to know the receiver by:", t.CertFile, "name the authority of the receiver's: ca_file, or --ca FILE")
		return
	}
	if t.KeyFile != "" && !r.checkSecret(s, t.Place, secret{"key_file", t.KeyFile, "the private key", "sersync", 0o077}) {
		return
	}
	_, own, err := t.Certificates()
	if err != nil {
		r.add(Error, t.Place, "certificates of the target cannot be used:", t.URL(), err.Error())
		return
	}
	if own != nil && own.Leaf != nil && time.Now().After(own.Leaf.NotAfter) {
		r.add(Error, t.Place, "certificate of this side is over:", t.CertFile, "it was good until "+own.Leaf.NotAfter.Format(time.DateOnly)+"; make a new one")
	}
}
