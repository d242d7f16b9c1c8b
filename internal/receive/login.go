package receive

import (
	"context"
	"errors"
	"net"

	"sersync/internal/channel"
)

// ChannelLogin is the login of internal/channel: TLS, and a proof of the secret that tells nobody of it.
func ChannelLogin(auth Auth, c Certificates) (Login, error) {
	certificates, err := c.parse()
	if err != nil {
		return nil, err
	}
	server, err := channel.NewServer(func(ctx context.Context, module, user string, from net.Addr) (channel.Access, error) {
		grant, err := auth(ctx, module, user, from)
		return channel.Access{Open: grant.Open, Certified: grant.Certified, Secret: grant.Secret}, told(err)
	}, certificates)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, conn net.Conn) (net.Conn, Peer, error) {
		secured, peer, err := server.Login(ctx, conn)
		var known *channel.Error
		if errors.As(err, &known) && (known.Kind == channel.Broken || known.Kind == channel.Timeout) {
			err = errors.Join(ErrCut, err)
		}
		return secured, Peer{Module: peer.Module, User: peer.User}, err
	}, nil
}

// told makes of a refusal what the client is told of it.
func told(err error) error {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	kind := channel.Denied
	switch refusal.Kind {
	case NoModule:
		kind = channel.NoModule
	case Busy:
		kind = channel.Busy
	}
	return channel.Refuse(kind, refusal.Text)
}
