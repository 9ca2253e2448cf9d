package node

import (
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// startMesh runs n nodes with the same module and waits until all of them follow one leader.
func startMesh(t *testing.T, n int, dir string, modules ...string) []*Node {
	t.Helper()
	var nodes []*Node
	for i := range n {
		nodes = append(nodes, startNode(t, string(rune('a'+i)), func(c *Config) {
			c.Repos, c.Path = modules, []string{dir}
			if i > 0 {
				c.Join = []string{nodes[0].GossipAddress()}
			}
		}))
	}
	eventually(t, 30*time.Second, "all nodes open sessions", func() bool {
		for _, n := range nodes {
			open := 0
			for s := range n.store.View().Sessions() {
				if s.State == state.SessionOpen {
					open++
				}
			}
			if open != len(nodes) {
				return false
			}
		}
		return true
	})
	return nodes
}

// eventually polls until ok.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestThreeNodesTriggeredThroughEach(t *testing.T) {
	t.Parallel()
	dir := module(t, "greetings", greetings)
	nodes := startMesh(t, 3, dir, "greetings")
	for _, n := range nodes {
		began := time.Now()
		if r := submit(t, n, "greetings", "my_workflow", `"Joe"`); r.Type != state.ResultValue {
			t.Errorf("%v %+v", r.Type, r.Error)
		}
		t.Log(time.Since(began))
	}
	index, digest := nodes[0].store.Digest()
	for _, n := range nodes[1:] {
		if err := n.store.WaitIndex(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "replicas agree", func() bool {
			i, d := n.store.Digest()
			i0, d0 := nodes[0].store.Digest()
			return i != i0 || d == d0 && i == i0
		})
	}
	_ = digest
}
