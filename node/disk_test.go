package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/scheduler"
)

func TestTheReserveIsKept(t *testing.T) {
	t.Parallel()
	left, failed := int64(100), error(nil)
	d := &disk{node: "n1", dir: "/data", reserve: 80, free: func() (int64, error) { return left, failed }}
	for _, c := range []struct {
		left        int64
		others, own bool // may be written
	}{{100, true, true}, {80, true, true}, {79, false, true}, {40, false, true}, {39, false, false}, {0, false, false}} {
		left, d.seen = c.left, time.Time{}
		if others, own := d.room(false), d.room(true); (others == nil) != c.others || (own == nil) != c.own {
			t.Errorf("%d left: %v, %v", c.left, others, own)
		}
	}
	if err := d.room(false); !errors.Is(err, blob.ErrFull) || !strings.Contains(err.Error(), "node n1 has 0 B left in /data and keeps 80 B (--disk-reserve)") {
		t.Errorf("%v", err)
	}
	left = 100
	if d.room(false) == nil {
		t.Error("the disk is looked at for every byte")
	}
	d.seen, failed = time.Time{}, errors.New("no such disk")
	if err := d.room(false); err != nil {
		t.Errorf("a disk that cannot be looked at: %v", err)
	}
}

// While too few voters have room the leader begins nothing new; the rest is decided.
func TestNothingNewIsBegunWithoutRoom(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", func(c *Config) { c.DiskReserve = "1PiB" })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	do := func(r scheduler.Request) *scheduler.Error {
		t.Helper()
		for {
			reply, err := n.router.Do(ctx, r)
			if err == nil {
				return reply.Err
			}
			if !pause(ctx, 20*time.Millisecond) {
				t.Fatal(err)
			}
		}
	}
	for _, r := range []scheduler.Request{&scheduler.SubmitRun{}, &scheduler.RerunStep{}} {
		for err := do(r); err == nil || err.Code != scheduler.CodeDiskFull; err = do(r) { // until the leader has looked
			if !pause(ctx, 20*time.Millisecond) {
				t.Fatalf("something new may begin: %v", err)
			}
		}
	}
	if err := do(&scheduler.CreateWorkspace{Project: "p", Name: "w", Ensure: true}); err != nil {
		t.Error(err)
	}
}
