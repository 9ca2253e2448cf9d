package node

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// A node leaves for good, another one comes: what the first held has as many copies as before.
func TestCopiesFollowTheMembers(t *testing.T) {
	t.Parallel()
	alone := func(c *Config) { c.repairGrace = 100 * time.Millisecond }
	first := startNode(t, "a", alone)
	joins := func(c *Config) { alone(c); c.Join = []string{first.GossipAddress()} }
	nodes := []*Node{first, startNode(t, "b", joins), startNode(t, "c", joins)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	until := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			if !pause(ctx, 20*time.Millisecond) {
				t.Fatal(errors.Join(errors.New(what), ctx.Err()))
			}
		}
	}
	until("three nodes see each other", func() bool { return len(first.others()) == 2 })
	var keys []string
	for i := range 20 {
		key, _, err := first.blobs.Put(ctx, bytes.NewReader([]byte{byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if err := nodes[1].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	late := startNode(t, "d", joins)
	until("the late node holds all", func() bool {
		for _, key := range keys {
			if has, err := late.local.Has(ctx, key); err != nil || !has {
				return false
			}
		}
		return true
	})
}
