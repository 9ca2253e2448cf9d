package consensus

import (
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// MemberInfo is what gossip says of a live node.
type MemberInfo struct {
	ID              string
	ClusterID       string // empty while it belongs to none
	HasState        bool   // it has, or may have, held the state of a cluster
	BootstrapExpect int
}

// Config is what a Host needs. Fields without a default are required.
type Config struct {
	Dir     *Dir
	Machine Machine
	Mux     *Mux
	Network Network
	Logger  hclog.Logger

	// Lookup says where the peer port of a node is now. It is asked at each dial and must not block.
	Lookup func(id string) (addr string, ok bool)
	// Members returns the nodes that gossip sees alive, this one included. It must not block.
	Members func() []MemberInfo
	// Removed tells whether the cluster has removed this id for good. It reads the replicated state of this node.
	Removed func(id string) bool
	// Succeeds tells whether by may be the node that once was old: they have one name. It reads the replicated state.
	Succeeds func(old, by string) bool
	// GaveUp is called on the leader, again and again until Removed says so of old, when old has left the configuration
	// because its node is by from now on. It must not block.
	GaveUp func(old, by string)
	// Voters is how many voters there should be; an even number counts as the odd one below it.
	Voters func() int
	// Fatal is called once, on a goroutine of its own, when this node must not go on: a HaltError, a DamageError, or a
	// sentence on membership. The process should Stop the host and exit, or after a DamageError try Quarantine.
	Fatal func(error)

	BootstrapExpect   int           // create a cluster together with that many others without state; below 2: never
	Multiplier        float64       // of all Raft timing, for slow disks and machines; default 1
	SnapshotThreshold uint64        // entries between snapshots; default 8192
	SnapshotInterval  time.Duration // how often the threshold is looked at; default 10 s
	TrailingLogs      uint64        // entries kept behind a snapshot; default 10240
	StableFor         time.Duration // healthy for so long before a replica may vote; default 10 s
	ReplaceAfter      time.Duration // silent for so long before a voter is replaced; default 60 s

	Store     Store              // instead of the log on the disk of Dir
	Snapshots raft.SnapshotStore // instead of the snapshots on the disk of Dir
}

// tick is the base of Raft's timing: heartbeat, election and lease are all one multiple of it, because a lease that is
// shorter than the heartbeat timeout flaps under pauses.
const tick = 300 * time.Millisecond

func (c *Config) complete() error {
	switch {
	case c.Dir == nil, c.Machine == nil, c.Mux == nil, c.Network == nil, c.Logger == nil:
		return errors.New("the consensus host lacks a directory, a machine, a mux, a network or a logger")
	case c.Lookup == nil, c.Members == nil, c.Removed == nil, c.Voters == nil, c.Fatal == nil, c.Succeeds == nil, c.GaveUp == nil:
		return errors.New("the consensus host lacks Lookup, Members, Removed, Voters, Fatal, Succeeds or GaveUp")
	}
	if c.Multiplier <= 0 {
		c.Multiplier = 1
	}
	setDefault(&c.SnapshotThreshold, 8192)
	setDefault(&c.SnapshotInterval, 10*time.Second)
	setDefault(&c.TrailingLogs, 10240)
	setDefault(&c.StableFor, 10*time.Second)
	setDefault(&c.ReplaceAfter, time.Minute)
	return nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// loneStep is what the heartbeat timeout can be shortened by while Raft runs: see Host.leadAlone.
const loneStep = time.Millisecond

// scaled is d on this machine.
func (c *Config) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * c.Multiplier)
}

func (c *Config) raft(notify chan<- bool) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.Dir.Identity().NodeID)
	rc.HeartbeatTimeout = c.scaled(tick) + loneStep
	rc.ElectionTimeout = c.scaled(tick) + loneStep
	rc.LeaderLeaseTimeout = c.scaled(tick)
	rc.CommitTimeout = 10 * time.Millisecond // followers learn of a commit with the next message only
	rc.MaxAppendEntries = 512
	rc.BatchApplyCh = true
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.SnapshotInterval = c.SnapshotInterval
	rc.TrailingLogs = c.TrailingLogs
	rc.NotifyCh = notify // LeaderCh drops flaps
	rc.Logger = quiet{c.Logger.Named("raft")}
	return rc
}
