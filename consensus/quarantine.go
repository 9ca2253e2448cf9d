package consensus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// QuarantineConfig is what Quarantine needs. Fields without a default are required.
type QuarantineConfig struct {
	Path     string // of the data directory; no process may use it
	Damage   *DamageError
	Network  Network
	Logger   hclog.Logger
	Patience time.Duration // how long a healthy quorum is looked for; default 30 s

	step func(name string) error // for tests: an error ends the process there
}

// Where a process may end; see quarantine.leave.
const (
	stepProved  = "proved"  // a quorum exists, nothing is written
	stepLeaving = "leaving" // the id is written down that is left
	stepMoved   = "moved"   // raft/ is moved aside
)

// keptDamaged is how many damaged logs are kept. They are only for a person to look at.
const keptDamaged = 3

const (
	quarantineAsk   = time.Second            // patience with one answer
	quarantineAgain = 500 * time.Millisecond // between two rounds of questions
)

// Quarantine moves the raft/ of a damaged data directory aside, so that the next start makes another node of it, with a
// new id, which joins its cluster as a replica (rules A10). It does so only while the other nodes prove that a healthy
// quorum exists without this node. Otherwise nothing is changed and the error says why; it wraps the DamageError. After
// nil, or a crash at any moment, the node is started as always.
func Quarantine(ctx context.Context, cfg QuarantineConfig) error {
	setDefault(&cfg.Patience, 30*time.Second)
	setDefault(&cfg.Logger, hclog.NewNullLogger())
	if cfg.step == nil {
		cfg.step = func(string) error { return nil }
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return fmt.Errorf("find the data directory %s: %w", cfg.Path, err)
	}
	lock, err := lockDir(path)
	if err != nil {
		return errors.Join(cfg.Damage, err)
	}
	defer lock.Close()
	q := &quarantine{cfg: cfg, path: path, places: map[string]string{}}
	if err := q.run(ctx); err != nil {
		return fmt.Errorf("%w; this node did not do so by itself: %w", cfg.Damage, err)
	}
	return nil
}

type quarantine struct {
	cfg  QuarantineConfig
	path string
	was  lineage

	mu     sync.Mutex        // guards places
	places map[string]string // the peer address of each id
}

func (q *quarantine) run(ctx context.Context) error {
	if err := q.look(); err != nil {
		return err
	}
	q.cfg.Logger.Error("the data of this node is damaged; asking the other nodes whether they can do without it", "damage", q.cfg.Damage.File, "reason", q.cfg.Damage.Reason, "id", q.was.NodeID)
	if err := q.prove(ctx); err != nil {
		return err
	}
	return q.leave()
}

// look decides what needs nobody else.
func (q *quarantine) look() error {
	inside, err := filepath.Rel(filepath.Join(q.path, "raft"), q.cfg.Damage.File)
	if err != nil || inside == ".." || strings.HasPrefix(inside, ".."+string(filepath.Separator)) {
		return errors.New("what is damaged lies outside the directory raft, and nobody else has it")
	}
	if err := readSealed(filepath.Join(q.path, "lineage"), &q.was); err != nil {
		return fmt.Errorf("which node this is cannot be read: %w", err)
	}
	switch l := q.was; {
	case !l.Held || l.ClusterID == "" || l.NodeID == "":
		return errors.New("it belongs to no cluster that could give it its state again")
	case l.Removed:
		return fmt.Errorf("the cluster has removed the node %s", l.NodeID)
	}
	var peers peersFile
	if err := readSealed(peersPath(q.path), &peers); err != nil && !missing(err) {
		return fmt.Errorf("where the other nodes are cannot be read: %w", err)
	}
	for _, p := range peers.Servers {
		q.places[p.ID] = p.Addr
	}
	if len(q.places) == 0 {
		return errors.New("it knows no other node of its cluster")
	}
	return nil
}

// prove asks until a healthy quorum without this node is proved.
func (q *quarantine) prove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Patience)
	defer cancel()
	// The id is only for this conversation.
	a := newAsker(newID(), q.cfg.Network, q.lookup)
	defer a.stop()
	said := ""
	for {
		why, final := q.round(ctx, a)
		if why == "" {
			return nil
		}
		if final {
			return errors.New(why)
		}
		if why != said && ctx.Err() == nil {
			said = why
			q.cfg.Logger.Warn("a healthy quorum without this node is not proved yet", "reason", why)
		}
		select {
		case <-time.After(quarantineAgain):
		case <-ctx.Done():
			return fmt.Errorf("a healthy quorum without it was not found within %s: %s", q.cfg.Patience, said)
		}
	}
}

func (q *quarantine) lookup(id string) (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	addr, ok := q.places[id]
	return addr, ok
}

// round asks everybody known, then the voters.
func (q *quarantine) round(ctx context.Context, a *asker) (why string, final bool) {
	q.mu.Lock()
	known := slices.Collect(maps.Keys(q.places))
	q.mu.Unlock()
	t := testimony{old: q.was.NodeID, first: q.ask(ctx, a, known)}
	if l, ok := t.leader(); ok {
		t.second = q.ask(ctx, a, l.View.Voters)
	}
	return t.verdict()
}

// ask collects the answers of those that belong to the cluster, and learns where others are.
func (q *quarantine) ask(ctx context.Context, a *asker, ids []string) map[string]answer {
	ctx, cancel := context.WithTimeout(ctx, quarantineAsk)
	defer cancel()
	var wg sync.WaitGroup
	out := map[string]answer{}
	for _, id := range ids {
		wg.Go(func() {
			ans, err := a.ask(ctx, id, question{Kind: askWithout, Cluster: q.was.ClusterID, Without: q.was.NodeID})
			if err != nil || ans.Cluster != q.was.ClusterID || ans.View == nil || ans.Status == nil {
				return
			}
			q.mu.Lock()
			defer q.mu.Unlock()
			out[id] = ans
			for _, p := range ans.View.Places {
				q.places[p.ID] = p.Addr
			}
		})
	}
	wg.Wait()
	return out
}

// leave moves raft/ aside. A crash before the rename finds the damage again, and asks again; a crash after it finds no
// log, which makes a new id (Dir.load); the id that was left is known from the lineage.
func (q *quarantine) leave() error {
	if err := q.cfg.step(stepProved); err != nil {
		return err
	}
	next := q.was
	next.Leaving = q.was.NodeID
	if err := writeSealed(filepath.Join(q.path, "lineage"), next); err != nil {
		return err
	}
	if err := q.cfg.step(stepLeaving); err != nil {
		return err
	}
	kept, err := damagedLogs(q.path)
	if err != nil {
		return err
	}
	n := 1
	if len(kept) > 0 {
		n = kept[len(kept)-1] + 1
	}
	to := damagedPath(q.path, n)
	if err := os.Rename(filepath.Join(q.path, "raft"), to); err != nil {
		return fmt.Errorf("move the damaged log aside: %w", err)
	}
	if err := syncDir(q.path); err != nil {
		return fmt.Errorf("move the damaged log aside: %w", err)
	}
	q.cfg.Logger.Warn("the damaged log was moved aside: this node comes back as a new replica and fetches the state from the others; its blobs and logs stay",
		"moved", to, "left-id", q.was.NodeID)
	for len(kept) >= keptDamaged {
		if err := os.RemoveAll(damagedPath(q.path, kept[0])); err != nil {
			q.cfg.Logger.Warn("an old damaged log cannot be removed", "error", err)
		}
		kept = kept[1:]
	}
	return q.cfg.step(stepMoved)
}

const damagedPrefix = "raft.damaged-"

func damagedPath(dir string, n int) string {
	return filepath.Join(dir, damagedPrefix+strconv.Itoa(n))
}

// damagedLogs are the numbers of the damaged logs that are kept, the oldest first.
func damagedLogs(dir string) (numbers []int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for damaged logs: %w", err)
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), damagedPrefix)); err == nil && strings.HasPrefix(e.Name(), damagedPrefix) && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}
