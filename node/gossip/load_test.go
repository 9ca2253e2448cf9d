package gossip

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// TestNoFalseDeathsUnderLoad keeps all cores busy for a while; a healthy node
// must not be declared gone. Suspicions are allowed and counted.
func TestNoFalseDeathsUnderLoad(t *testing.T) {
	if os.Getenv("COFLUX_SLOW") != "1" {
		t.Skip("takes 30 s: set COFLUX_SLOW=1")
	}
	var list []*Gossip
	for i := range 3 {
		cfg := Config{NodeID: fmt.Sprint("n", i), Label: "load", BindAddr: "127.0.0.1", Logger: testLogger(t)}
		if i > 0 {
			cfg.Join = []string{fmt.Sprint("127.0.0.1:", list[0].BoundPort())}
		}
		g, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer g.Stop()
		list = append(list, g)
	}
	until(t, "start", list, func(g *Gossip) bool { return len(g.Alive()) == 3 })
	for range 4 * runtime.NumCPU() {
		spinner := exec.Command(os.Args[0])
		spinner.Env = append(os.Environ(), "GOSSIP_TEST_SPIN=1")
		if err := spinner.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = spinner.Process.Kill()
			_ = spinner.Wait()
		}()
	}
	suspects, tick := 0, time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < 30*time.Second; <-tick.C {
		for _, g := range list {
			for _, m := range g.Members() {
				switch m.State {
				case Gone:
					t.Fatalf("%s was declared gone after %s", m.ID, time.Since(begin))
				case Suspect:
					suspects++
				case Alive:
				}
			}
		}
	}
	t.Logf("%d of 13500 looks found a suspect", suspects)
}

// spin is what the other processes do; it ends by itself if nobody kills it.
func spin() {
	for begin := time.Now(); time.Since(begin) < time.Minute; {
	}
}
