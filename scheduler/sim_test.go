package scheduler_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// TestSimulator runs seeded histories of users, agents, leaders and faults against the real tables and checks every
// entry against an oracle that keeps its own books. COFLUX_SLOW=1 makes it 2,000; COFLUX_SIM_SEEDS sets how many histories;
// COFLUX_SIM_SEED=k replays one and prints it.
func TestSimulator(t *testing.T) {
	if text := os.Getenv("COFLUX_SIM_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("COFLUX_SIM_SEED is not a number: %v", err)
		}
		if err := simulate(seed, t.Logf); err != nil {
			t.Fatal(err)
		}
		return
	}
	seeds := uint64(500)
	if os.Getenv("COFLUX_SLOW") != "" {
		seeds = 2000
	}
	if text := os.Getenv("COFLUX_SIM_SEEDS"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("COFLUX_SIM_SEEDS is not a number: %v", err)
		}
		seeds = n
	}
	if raceEnabled {
		seeds = min(seeds, 300)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // histories are short-lived
	for _, seed := range keptSeeds {
		if err := simulate(seed, nil); err != nil {
			t.Fatalf("seed %d: %v\nreplay: COFLUX_SIM_SEED=%d go test ./scheduler -run TestSimulator -v", seed, err, seed)
		}
	}
	var next atomic.Uint64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for seed := next.Add(1); seed <= seeds && !failed.Load(); seed = next.Add(1) {
				if err := simulate(seed, nil); err != nil {
					failed.Store(true)
					t.Errorf("seed %d: %v\nreplay: COFLUX_SIM_SEED=%d go test ./scheduler -run TestSimulator -v", seed, err, seed)
				}
			}
		})
	}
	workers.Wait()
}

// sim is one history. It is used by one goroutine.
type sim struct {
	rng       *rand.Rand
	ids       *rand.Rand // the leader's
	now       int64
	stores    []*state.Store
	lead      int // which store leads
	term      int
	oracle    *oracle
	agents    []*simAgent
	users     []*simUser
	person    *simPerson
	packer    *simPacker
	forgetter *simForgetter
	// inbox is what waits at the present leader.
	inbox []mail
	// sent are copies of requests that may arrive again, however late.
	sent []scheduler.Request
	// starts counts bodies by execution.
	starts map[string]int
	calm   bool // no more faults
	log    func(string, ...any)
}

// mail is a request on its way; done is told the reply unless it is lost.
type mail struct {
	request scheduler.Request
	done    func(scheduler.Reply)
}

func simulate(seed uint64, log func(string, ...any)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			v, ok := p.(violation)
			if !ok {
				panic(p)
			}
			err = v.error
		}
	}()
	s := newSim(seed, log)
	for range 12 + s.rng.IntN(30) {
		s.act()
	}
	s.settle()
	return nil
}

func newSim(seed uint64, log func(string, ...any)) *sim {
	s := &sim{
		rng: rand.New(rand.NewPCG(seed, 1)), ids: rand.New(rand.NewPCG(seed, 2)), now: 1_700_000_000_000, term: 1,
		stores: []*state.Store{state.New(), state.New()}, oracle: newOracle(), starts: map[string]int{}, log: log,
	}
	s.forgetter = &simForgetter{sim: s, rng: rand.New(rand.NewPCG(seed, 4))}
	s.packer = &simPacker{sim: s, blobs: map[string]map[string][]state.Effect{}}
	s.found()
	s.person = newSimPerson(s, seed)
	for i := range 1 + s.rng.IntN(3) {
		s.agents = append(s.agents, newSimAgent(s, i))
	}
	for i := range 1 + s.rng.IntN(3) {
		s.users = append(s.users, &simUser{sim: s, n: i})
	}
	return s
}

func (s *sim) failf(format string, args ...any) {
	panic(violation{fmt.Errorf(format, args...)})
}

func (s *sim) tracef(format string, args ...any) {
	if s.log != nil {
		s.log(format, args...)
	}
}

func (s *sim) chance(percent int) bool { return s.rng.IntN(100) < percent }

func (s *sim) send(r scheduler.Request, done func(scheduler.Reply)) {
	s.inbox = append(s.inbox, mail{r, done})
	if s.chance(20) {
		s.sent = append(s.sent, r)
	}
}

// act lets everybody do something, perhaps breaks something, and lets the leader decide.
func (s *sim) act() {
	s.now += int64(s.rng.IntN(40))
	s.actors()
	if len(s.sent) > 0 && s.chance(15) {
		s.inbox = append(s.inbox, mail{s.sent[s.rng.IntN(len(s.sent))], nil})
	}
	if len(s.sent) > 0 && s.chance(8) {
		s.inbox = append(s.inbox, mail{impostor(s.sent[s.rng.IntN(len(s.sent))], s.agents[s.rng.IntN(len(s.agents))].session), nil})
	}
	switch n := s.rng.IntN(100); {
	case n < 4:
		s.now += int64(s.rng.IntN(700_000)) // a jump of log time, past the window of requests or not
	case n < 8:
		s.changeLeader()
	case n < 10:
		s.snapshot()
	case n < 22:
		s.agents[s.rng.IntN(len(s.agents))].fault()
	}
	s.commitTurn(s.pickFate())
}

// fate is what becomes of a turn of the leader.
type fate int

const (
	fateNormal  fate = iota
	fateThrown       // the leader dies before it proposes
	fateRefused      // another leader's entry comes first
	fateSilent       // committed, but nobody is told
)

func (s *sim) pickFate() fate {
	switch n := s.rng.IntN(100); {
	case n < 3:
		return fateThrown
	case n < 6:
		return fateRefused
	case n < 10:
		return fateSilent
	}
	return fateNormal
}

// commitTurn is one turn of the leader's loop.
func (s *sim) commitTurn(f fate) {
	n := len(s.inbox)
	if !s.calm && s.chance(30) {
		n = s.rng.IntN(n + 1)
	}
	batch := s.inbox[:n]
	s.inbox = s.inbox[n:]
	t := s.decide(batch)
	switch f {
	case fateThrown:
		s.changeLeader()
	case fateRefused:
		other := s.decide(nil)
		if len(batch) > 1 {
			other = s.decide(batch[1:])
		}
		if other.empty {
			s.changeLeader() // nothing was written: the guard has nothing to notice
			return
		}
		s.apply(other)
		for i, st := range s.stores {
			if err := st.Apply(t.entry); !errors.Is(err, state.ErrRefused) {
				s.failf("replica %d took an entry that was made on another state: %v", i, err)
			}
		}
		s.changeLeader()
	default:
		if !t.empty {
			s.apply(t)
		}
		if f == fateSilent {
			s.changeLeader()
			return
		}
		s.tell(t)
	}
}

// turn is one batch decided.
type turn struct {
	batch []mail
	soft  scheduler.Soft
	out   scheduler.Output
	entry []byte
	empty bool
	now   int64
}

func (s *sim) decide(batch []mail) *turn {
	t := &turn{batch: batch, soft: s.soft(), now: s.now}
	scratch := s.stores[s.lead].Scratch()
	in := scheduler.Input{Now: s.now, Random: s.ids, Soft: t.soft, Log: func(msg string, args ...any) {
		s.failf("%s: %v", msg, args)
	}}
	scheduler.TouchAssets(&in, simTouch)
	if s.chance(50) {
		scheduler.LimitSweep(&in, 1)
	}
	for _, m := range batch {
		in.Requests = append(in.Requests, s.overTheWire(m.request))
	}
	t.out = scheduler.Step(scratch, in)
	t.empty = scratch.Empty()
	entry, err := scratch.Entry(s.now).Encode()
	if err != nil || len(entry) > state.MaxEntry {
		s.failf("entry of %d bytes: %v", len(entry), err)
	}
	t.entry = entry
	return t
}

func (s *sim) overTheWire(r scheduler.Request) scheduler.Request {
	data, err := scheduler.EncodeRequest(r)
	if err != nil {
		s.failf("encode %T: %v", r, err)
	}
	back, err := scheduler.DecodeRequest(data)
	if err != nil {
		s.failf("decode %T: %v", r, err)
	}
	return back
}

// apply commits a turn on every replica and has the oracle look at it.
func (s *sim) apply(t *turn) {
	var index, digest uint64
	for i, st := range s.stores {
		if err := st.Apply(t.entry); err != nil {
			s.failf("replica %d: %v", i, err)
		}
		at, d := st.Digest()
		if i > 0 && (at != index || d != digest) {
			s.failf("replicas differ at index %d: digest %x and %x", index, digest, d)
		}
		index, digest = at, d
	}
	s.tracef("entry %d: %d requests, %d replies, %d events, more %v", index, len(t.batch), len(t.out.Replies), len(t.out.Events), t.out.More)
	for i, r := range t.out.Replies {
		s.tracef("   %s %+v -> %+v %v", scheduler.Name(t.batch[i].request), t.batch[i].request, r.Answer, r.Err)
	}
	for _, e := range t.out.Events {
		s.tracef("   event %d %s %s", e.Kind, e.Session, e.Execution)
	}
	s.packer.look()
	if err := s.oracle.check(t, s.view()); err != nil {
		s.failf("entry %d: %w", index, err)
	}
}

// tell sends replies and events out after the commit.
func (s *sim) tell(t *turn) {
	for i, r := range t.out.Replies {
		if s.packer.needs(t.batch[i], r) {
			continue
		}
		if done := t.batch[i].done; done != nil {
			done(r)
		}
	}
	s.inbox = append(s.inbox, t.batch[len(t.out.Replies):]...)
	for _, e := range t.out.Events {
		for _, a := range s.agents {
			a.event(e)
		}
	}
}

// changeLeader loses all that the old leader knew and was about to do.
func (s *sim) changeLeader() {
	s.tracef("leader change")
	s.term++
	s.inbox = []mail{{&scheduler.EraseLeftovers{}, nil}}
	s.lead = s.rng.IntN(len(s.stores))
	for _, a := range s.agents {
		a.disconnect()
	}
	for _, u := range s.users {
		u.waiting = false
	}
	s.person.waiting = false
}

// snapshot replaces a replica by one that was restored from another's snapshot, or adds it.
func (s *sim) snapshot() {
	var buf bytes.Buffer
	if _, err := s.stores[0].Freeze().WriteTo(&buf); err != nil {
		s.failf("snapshot: %v", err)
	}
	restored := state.New()
	if err := restored.Restore(&buf); err != nil {
		s.failf("restore: %v", err)
	}
	if len(s.stores) < 3 {
		s.stores = append(s.stores, restored)
	} else {
		s.stores[1] = restored
	}
}

// settle ends all faults: whatever was begun has to come to an end (invariant I7).
func (s *sim) settle() {
	s.calm = true
	s.inbox = append([]mail{{&scheduler.EraseLeftovers{}, nil}}, s.inbox...)
	s.tracef("calm")
	for range 1000 {
		s.rescue()
		s.actors()
		if next := s.view().NextDue(); next != nil && len(s.inbox) == 0 {
			s.now = max(s.now, next.ExecuteAfter)
		}
		s.now++
		s.commitTurn(fateNormal)
		if s.quiet() {
			if err := s.oracle.final(s.view()); err != nil {
				s.failf("at the end: %w", err)
			}
			return
		}
	}
	s.failf("no end in sight: %s; %v", s.oracle.unfinished(), s.waits())
}
