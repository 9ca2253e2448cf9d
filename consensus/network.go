package consensus

import (
	"context"
	"net"
	"time"
)

// Network is how nodes reach each other's peer port: TCP in production, memory in tests that run in virtual time.
type Network interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// TCP returns the network of the operating system. Names are resolved anew at every dial.
func TCP() Network { return tcpNetwork{} }

type tcpNetwork struct{}

var _ Network = tcpNetwork{}

// keepAlive notices a vanished host within about 15 s on connections that are idle.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 5}

func (tcpNetwork) Listen(addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	return lc.Listen(context.Background(), "tcp", addr)
}

func (tcpNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 2 * time.Second, KeepAliveConfig: keepAlive}
	return d.DialContext(ctx, "tcp", addr)
}
