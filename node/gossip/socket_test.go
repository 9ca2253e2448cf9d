package gossip

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRealSockets: start, reload and death on loopback, and a taken port.
func TestRealSockets(t *testing.T) {
	t.Parallel()
	nodes := map[string]*Gossip{}
	fetch := func(_ context.Context, from Member, hash string) ([]byte, error) {
		content, ok := nodes[from.ID].Manifest(hash)
		if !ok {
			return nil, errUnreachable
		}
		return content, nil
	}
	var list []*Gossip
	for i := range 3 {
		g, err := New(Config{NodeID: fmt.Sprint("n", i), Label: "sockets", BindAddr: "127.0.0.1", Logger: testLogger(t), Fetch: fetch})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			g.cfg.Join = []string{fmt.Sprint("localhost:", list[0].BoundPort())}
		} else if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes[g.cfg.NodeID], list = g, append(list, g)
		defer g.Stop()
	}
	for _, g := range list[1:] {
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "start", list, func(g *Gossip) bool { return len(g.Alive()) == 3 })
	if err := list[1].SetManifest([]byte("code")); err != nil {
		t.Fatal(err)
	}
	until(t, "reload", list, hasCode("n1", "code"))

	taken, err := New(Config{NodeID: "late", BindAddr: "127.0.0.1", BindPort: list[0].BoundPort(), Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Stop()
	if err := taken.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "--gossip-port") {
		t.Errorf("start on a taken port: %v", err)
	}

	list[2].Stop()
	list[2].Stop() // again does no harm
	until(t, "death", list[:2], sees("n2", Gone))
}

// until polls with a deadline that leaves room for a busy machine.
func until(t *testing.T, what string, nodes []*Gossip, ok func(*Gossip) bool) {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		all := true
		for _, g := range nodes {
			all = all && ok(g)
		}
		if all {
			t.Logf("%s seen by all after %s", what, time.Since(begin).Round(time.Millisecond))
			return
		}
		if time.Since(begin) > 8*time.Second {
			t.Fatalf("%s: not seen by all in 8 s", what)
		}
	}
}
