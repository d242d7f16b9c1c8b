package receive

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"sersync/internal/channel"
)

// Certificates are those of an own authority, as they stand in files (PEM). All are empty where the secrets of users are what both sides know each
// other by.
type Certificates struct {
	// Own and Key are of the receiver.
	Own []byte
	Key Secret
	// ClientCA must have signed the certificates of clients.
	ClientCA []byte
}

// Check reports what cannot be used of them.
func (c Certificates) Check() error {
	_, err := c.parse()
	return err
}

func (c Certificates) parse() (parsed channel.Certificates, err error) {
	if len(c.Own) > 0 {
		own, err := tls.X509KeyPair(c.Own, []byte(c.Key))
		if err != nil {
			return parsed, fmt.Errorf("use certificate of the receiver: %w", err)
		}
		parsed.Own = &own
	}
	if len(c.ClientCA) > 0 {
		parsed.Clients = x509.NewCertPool()
		if !parsed.Clients.AppendCertsFromPEM(c.ClientCA) {
			return parsed, errors.New("use authority of clients: there is no certificate in its file")
		}
	}
	return parsed, nil
}
