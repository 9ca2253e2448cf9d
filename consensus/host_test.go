package consensus

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOneNodeCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(1)
		c.write("a")
		c.write("b")
		if diff := cmp.Diff([]string{"a", "b"}, c.nodes[0].machine.snapshot()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A node that is alone has nobody to wait for, neither at its birth nor at a restart.
func TestLoneNodeLeadsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		n := c.add("n0")
		n.start()
		time.Sleep(time.Minute)
		for range 3 {
			if !n.host.HasState() {
				if err := n.host.Bootstrap(); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the lead", 20*time.Millisecond, func() bool { return n.host.Barrier(t.Context()) == nil })
			n.kill()
			n.start()
		}
	})
}

func TestFailoverLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(3)
		var want []string
		for i := range 20 {
			text := fmt.Sprint("w", i)
			want = append(want, text)
			c.write(text)
			if i%2 == 0 {
				l := c.leader()
				l.kill()
				text := fmt.Sprint("x", i)
				want = append(want, text)
				c.write(text)
				l.start()
				time.Sleep(3 * time.Second)
			}
		}
		time.Sleep(5 * time.Second)
		for _, n := range c.nodes {
			if diff := cmp.Diff(want, n.machine.snapshot()); diff != "" {
				t.Fatalf("node %s: %s", n.name, diff)
			}
			if f := n.fatals(); len(f) > 0 {
				t.Fatalf("node %s: %v", n.name, f)
			}
		}
	})
}
