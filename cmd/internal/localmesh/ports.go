package localmesh

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	loopback = "127.0.0.1"
	// Ports are taken below the range from which systems give ports to outgoing connections.
	firstPort, lastPort = 20000, 32000
)

// ports of one node.
type ports struct{ http, gossip, peer int }

// choosePorts finds three ports for node i. A port is free when it can be bound now; another program may
// still be faster.
func choosePorts(cfg Config, i int) (ports, error) {
	if cfg.BasePort > 0 {
		p := ports{cfg.BasePort + 3*i, cfg.BasePort + 3*i + 1, cfg.BasePort + 3*i + 2}
		for _, port := range []int{p.http, p.gossip, p.peer} {
			if !free(port) {
				return p, fmt.Errorf("port %d is not free: choose another --base-port, or leave it out", port)
			}
		}
		return p, nil
	}
	usual := ports{7777, 7946, 7947}
	if i == 0 && cfg.UsualPorts && free(usual.http) && free(usual.gossip) && free(usual.peer) {
		return usual, nil
	}
	for range 200 {
		base := firstPort + rand.IntN(lastPort-firstPort)
		if free(base) && free(base+1) && free(base+2) {
			return ports{base, base + 1, base + 2}, nil
		}
	}
	return ports{}, errors.New("no free ports were found on loopback")
}

func free(port int) bool {
	if port < 1 || port > 65535 {
		return false
	}
	address := net.JoinHostPort(loopback, strconv.Itoa(port))
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}
