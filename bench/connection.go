package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"sersync/internal/channel"
)

// carryOver sends so many bytes from memory over one connection of ours, both ends in this process.
func carryOver(ctx context.Context, size int64) (time.Duration, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("listen: %w", err)
	}
	defer l.Close()
	server, err := channel.NewServer(func(context.Context, string, string, net.Addr) (channel.Access, error) {
		return channel.Access{Secret: []byte(secret)}, nil
	}, channel.Certificates{})
	if err != nil {
		return 0, err
	}
	arrived := make(chan error, 1)
	go func() { arrived <- takeAll(ctx, l, server, size) }()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	secured, err := channel.Client(ctx, conn, channel.Login{Module: "t0", User: user, Secret: []byte(secret)})
	if err != nil {
		return 0, err
	}
	defer secured.Close()
	data := make([]byte, 1<<20)
	began := time.Now()
	for left := size; left > 0; left -= int64(len(data)) {
		if _, err := secured.Write(data); err != nil {
			return 0, fmt.Errorf("send: %w", err)
		}
	}
	err = <-arrived
	return time.Since(began), err
}

// takeAll is the other end of carryOver.
func takeAll(ctx context.Context, l net.Listener, server *channel.Server, size int64) error {
	conn, err := l.Accept()
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	secured, _, err := server.Login(ctx, conn)
	if err != nil {
		return err
	}
	defer secured.Close()
	buf := make([]byte, 1<<20)
	for left := size; left > 0; {
		n, err := secured.Read(buf)
		if left -= int64(n); err != nil && left > 0 {
			return fmt.Errorf("receive: %w", err)
		}
	}
	return nil
}
