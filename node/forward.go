package node

import (
	"context"
	"errors"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// askTimeout is how long a request from outside looks for a leader that decides it.
const askTimeout = 10 * time.Second

// leaderless is how long nobody may lead before a request is given up: an election takes well below a second, so by then
// there is no majority.
const leaderless = 3 * time.Second

// errNoQuorum means that no leader with a majority could be reached in time. What was asked may or may not have been
// done; repeated with the same id it is done once.
var errNoQuorum = errors.New("no leader that a majority follows can be reached")

// router brings requests and read indexes to whoever leads, whatever node they came to.
type router struct {
	host  raftHost
	local *coordinator
	peers *peers
	store *state.Store
}

// Do has a request decided. It is asked again, unchanged, until somebody answers: repeats are recognised.
func (r *router) Do(ctx context.Context, q scheduler.Request) (scheduler.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := scheduler.EncodeRequest(q)
	if err != nil {
		return scheduler.Reply{}, err
	}
	var reply scheduler.Reply
	err = r.untilLed(ctx, func(ctx context.Context, id string, self bool) (err error) {
		reply = scheduler.Reply{}
		if self {
			reply, err = r.local.do(ctx, q)
			return err
		}
		return r.peers.call(ctx, id, rpcRequest, body, &reply)
	})
	return reply, err
}

// ReadIndex is an index from which on everything can be read that was answered before the call.
func (r *router) ReadIndex(ctx context.Context) (index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err = r.untilLed(ctx, func(ctx context.Context, id string, self bool) (err error) {
		if self {
			index, err = r.local.readIndex(ctx)
			return err
		}
		return r.peers.call(ctx, id, rpcReadIndex, nil, &index)
	})
	return index, err
}

// Linear gives a view that contains everything that was answered before the call.
func (r *router) Linear(ctx context.Context) (*state.View, error) {
	index, err := r.ReadIndex(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := r.store.WaitIndex(ctx, index); err != nil {
		return nil, errNoQuorum
	}
	return r.store.View(), nil
}

// untilLed calls try with who leads until it succeeds. What a caller can do nothing about is tried again; what it can
// is given back. A try ends when another node leads: a leader that hangs keeps nobody.
func (r *router) untilLed(ctx context.Context, try func(ctx context.Context, id string, self bool) error) error {
	wait := 5 * time.Millisecond
	led := time.Now()
	for {
		id, _, self := r.host.Leader()
		if id == "" && time.Since(led) > leaderless {
			return errNoQuorum
		}
		if id != "" {
			led = time.Now()
			attempt, cancel := context.WithCancel(ctx)
			stop := watchLeader(r.host, id, cancel)
			err := try(attempt, id, self)
			stop()
			cancel()
			if err == nil || ctx.Err() == nil && final(err, self) {
				return err
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		if ctx.Err() != nil {
			return errNoQuorum
		}
		wait = min(2*wait, 100*time.Millisecond)
	}
}

// final tells errors that another try would not change.
func final(err error, self bool) bool {
	var refused *peerError
	if errors.Is(err, errOverloaded) || errors.As(err, &refused) {
		return true
	}
	return self && !noQuorum(err) && !errors.Is(err, consensus.ErrStopped) && !errors.Is(err, context.Canceled)
}

// leaderWatch is how often it is looked whether a node that was asked still leads.
const leaderWatch = 50 * time.Millisecond

// watchLeader calls moved once another node than id leads, until stop is called.
func watchLeader(host raftHost, id string, moved func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var look func()
	look = func() {
		if ctx.Err() != nil {
			return
		}
		if now, _, _ := host.Leader(); now != "" && now != id {
			moved()
			return
		}
		time.AfterFunc(leaderWatch, look)
	}
	time.AfterFunc(leaderWatch, look)
	return cancel
}
