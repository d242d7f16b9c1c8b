package rsyncd

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sersync/internal/config"
	"sersync/internal/receive"
)

// The options of our own, which rsync does not have. It names them in its log and goes on.
const (
	certFile     = "certificate file"
	keyFile      = "key file"
	clientCAFile = "client ca file"
)

// Certificates are files of certificates that the command line names. They take the place of those that a configuration names.
type Certificates struct{ Cert, Key, ClientCA string }

// put has the options be as if they stood in the configuration.
func (c Certificates) put(into entries) {
	for name, file := range map[string]string{certFile: c.Cert, keyFile: c.Key, clientCAFile: c.ClientCA} {
		if file == "" {
			continue
		}
		if abs, err := filepath.Abs(file); err == nil {
			file = abs
		}
		into[name] = entry{value: file}
	}
}

// certificates reads those of an own authority. What is wrong with them is told.
func (r *reader) certificates() receive.Certificates {
	var c receive.Certificates
	cert, key := r.absolute(r.globals, certFile), r.absolute(r.globals, keyFile)
	switch {
	case cert != "" && key == "":
		r.fail(r.globals[certFile].place, "a certificate without its key:", cert, "name the key: --key FILE, or "+keyFile+" = FILE")
		return c
	case cert == "" && key != "":
		r.fail(r.globals[keyFile].place, "a key without its certificate:", key, "name the certificate: --cert FILE, or "+certFile+" = FILE")
		return c
	}
	c.Own = r.pem(certFile, cert)
	c.Key = receive.Secret(r.key(key))
	if len(c.Own) > 0 && len(c.Key) > 0 {
		if err := (receive.Certificates{Own: c.Own, Key: c.Key}).Check(); err != nil {
			r.fail(r.globals[certFile].place, "certificate and key cannot be used:", cert, err.Error())
		}
	}
	if ca := r.absolute(r.globals, clientCAFile); ca != "" {
		if cert == "" {
			r.fail(r.globals[clientCAFile].place, "clients are to have certificates, and the receiver has none:", ca,
				"name its own, which its clients know it by: --cert FILE --key FILE, or "+certFile+" and "+keyFile)
		}
		c.ClientCA = r.pem(clientCAFile, ca)
	}
	return c
}

// pem reads a file of certificates.
func (r *reader) pem(option, file string) []byte {
	if file == "" {
		return nil
	}
	place := r.globals[option].place
	data, err := r.read(file)
	if err != nil {
		r.fail(place, option+" cannot be read:", file, err.Error())
		return nil
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		r.fail(place, option+" has no certificate:", file, "write it in PEM: it begins with -----BEGIN CERTIFICATE-----")
		return nil
	}
	first, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		r.fail(place, option+" has a certificate that cannot be used:", file, err.Error())
		return nil
	}
	if time.Now().After(first.NotAfter) {
		r.add(config.Warning, place, option+" has a certificate that is over:", file, "it was good until "+first.NotAfter.Format(time.DateOnly)+"; make a new one")
	}
	return data
}

// key reads a private key that nobody else can.
func (r *reader) key(file string) []byte {
	if file == "" {
		return nil
	}
	place := r.globals[keyFile].place
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		r.fail(place, keyFile+" cannot be read:", file, err.Error())
		return nil
	}
	defer f.Close()
	info, err := f.Stat() // of what is read, not of the name
	st, ok := (*syscall.Stat_t)(nil), false
	if err == nil {
		st, ok = info.Sys().(*syscall.Stat_t)
	}
	switch {
	case err != nil:
		r.fail(place, keyFile+" cannot be looked at:", file, err.Error())
	case info.Mode().Perm()&0o077 != 0:
		r.fail(place, keyFile+" can be read or written by others, so it is refused:", file, "chmod 600 "+file)
	case os.Geteuid() == 0 && ok && st.Uid != 0:
		r.fail(place, keyFile+" is not owned by root, so it is refused:", file, "chown root "+file)
	default:
		data, err := readOpen(f)
		if err != nil {
			r.fail(place, keyFile+" cannot be read:", file, err.Error())
		}
		return data
	}
	return nil
}
