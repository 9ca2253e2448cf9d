package gossip

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// transport is memberlist's own, with dials that end when gossip stops.
type transport struct {
	*memberlist.NetTransport
	ctx context.Context // of the run; a dial has no other way to learn of Stop
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func (t *transport) DialTimeout(addr string, d time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d}
	return dialer.DialContext(t.ctx, "tcp", addr)
}

func (t *transport) DialAddressTimeout(a memberlist.Address, d time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, d)
}

// memberlistConfig: start bounds name resolution, run the life of connections.
func (g *Gossip) memberlistConfig(start, run context.Context) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label = g.cfg.NodeID, g.cfg.Label
	c.BindAddr, c.BindPort = g.cfg.BindAddr, g.cfg.BindPort
	c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, 100*time.Millisecond
	c.SuspicionMult = 3
	c.GossipInterval = 100 * time.Millisecond
	c.PushPullInterval = 10 * time.Second
	c.TCPTimeout = 5 * time.Second
	c.DeadNodeReclaimTime = reclaimAfter
	c.SecretKey = g.cfg.SecretKey
	c.Logger = g.log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	d := delegate{g}
	c.Delegate, c.Events, c.Conflict, c.Ping = d, d, d, d
	c.DisableTcpPingsForNode = g.unanswered
	if err := g.setAdvertise(start, c); err != nil {
		return nil, err
	}
	if c.Transport = g.cfg.Transport; c.Transport != nil {
		return c, nil
	}
	nt, err := listen(c)
	if err != nil {
		return nil, err
	}
	c.Transport = &transport{NetTransport: nt, ctx: run}
	c.BindPort = nt.GetAutoBindPort()
	if c.AdvertisePort == 0 {
		c.AdvertisePort = c.BindPort
	}
	return c, nil
}

func (g *Gossip) setAdvertise(ctx context.Context, c *memberlist.Config) error {
	c.AdvertiseAddr, c.AdvertisePort = g.cfg.AdvertiseAddr, g.cfg.AdvertisePort
	if c.AdvertisePort == 0 {
		c.AdvertisePort = g.cfg.BindPort
	}
	if c.AdvertiseAddr == "" || net.ParseIP(c.AdvertiseAddr) != nil {
		return nil
	}
	ips, err := g.lookup(ctx, c.AdvertiseAddr)
	if err != nil {
		return fmt.Errorf("the advertised name %q has no address, check --advertise: %w", c.AdvertiseAddr, err)
	}
	c.AdvertiseAddr = ips[0]
	return nil
}

// listen takes one port number for UDP and TCP; with port 0 the one that the
// kernel picks for TCP may be taken for UDP, so it tries again.
func listen(c *memberlist.Config) (*memberlist.NetTransport, error) {
	addr := net.JoinHostPort(c.BindAddr, strconv.Itoa(c.BindPort))
	if net.ParseIP(c.BindAddr) == nil {
		return nil, fmt.Errorf("gossip cannot listen on %s: %q is not an IP address, check --bind", addr, c.BindAddr)
	}
	tries := 1
	if c.BindPort == 0 {
		tries = 10
	}
	var err error
	for range tries {
		var nt *memberlist.NetTransport
		nt, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{c.BindAddr}, BindPort: c.BindPort, Logger: c.Logger,
		})
		if err == nil {
			return nt, nil
		}
	}
	return nil, fmt.Errorf("gossip cannot listen on %s: choose another address or port with --bind, --gossip-port: %w", addr, err)
}
