package state

import (
	"fmt"

	"github.com/hashicorp/go-memdb"
)

// Table numbers a table in entries and snapshots. The numbers are for ever: appended, never reused; a table that is
// no longer used keeps its row here.
type Table uint8

// The tables.
const (
	TableMeta         Table = 1
	TableSettings     Table = 2
	TableWorkspaces   Table = 3
	TableSessions     Table = 4
	TableRuns         Table = 5
	TableSteps        Table = 6
	TableExecutions   Table = 7
	TableDependencies Table = 8
	TableGroups       Table = 9
	TableRequests     Table = 10
	TableSweeps       Table = 11
	TableMembers      Table = 12
	TableHits         Table = 13
	TableWorkflows    Table = 14
	TableInputs       Table = 15
	TableWaits        Table = 16
	TablePacks        Table = 17
	TableKept         Table = 18
	TableTallies      Table = 19
	TableAssets       Table = 20
	TablePersisted    Table = 21
)

// spec describes one table: its number, its name inside memdb, an empty row, and its indexes beside "id".
type spec struct {
	number  Table
	name    string
	empty   func() Row
	indexes []index
}

// index is one more way through a table. key gives a row's place in it; ok is false when the row has none. A key ends
// with the row's own key unless it is unique by itself.
type index struct {
	name string
	key  func(Row) (key string, ok bool)
}

func by[T Row](name string, key func(T) (string, bool)) index {
	return index{name, func(r Row) (string, bool) { return key(r.(T)) }}
}

// specs is the table of tables.
var specs = []spec{
	{TableMeta, "meta", func() Row { return &Meta{} }, nil},
	{TableSettings, "settings", func() Row { return &Setting{} }, nil},
	{TableWorkspaces, "workspaces", func() Row { return &Workspace{} }, []index{
		by("name", func(w *Workspace) (string, bool) { return join(w.Project, w.Name, w.ID), w.Live() }),
		by("project", func(w *Workspace) (string, bool) { return join(w.Project, w.ID), true }),
		by("base", func(w *Workspace) (string, bool) { return join(w.Base, w.ID), w.Base != "" && w.Live() }),
	}},
	{TableSessions, "sessions", func() Row { return &Session{} }, []index{
		by("node", func(s *Session) (string, bool) { return join(s.Node, s.ID), true }),
		by("workspace", func(s *Session) (string, bool) { return join(s.Workspace, s.ID), true }),
	}},
	{TableRuns, "runs", func() Row { return &Run{} }, []index{
		by("created", func(r *Run) (string, bool) { return join(r.Workspace) + be8(r.CreatedAt) + r.ID, true }),
		by("target", func(r *Run) (string, bool) {
			return join(r.Workspace, r.Module, r.Target) + be8(r.CreatedAt) + r.ID, true
		}),
	}},
	{TableSteps, "steps", func() Row { return &Step{} }, []index{
		by("cause", func(s *Step) (string, bool) { return join(s.Parent) + be8(s.Request), s.Parent != "" }),
	}},
	{TableExecutions, "executions", func() Row { return &Execution{} }, []index{
		by("queue", func(e *Execution) (string, bool) { return e.queueKey(), e.Queued() }),
		by("due", func(e *Execution) (string, bool) {
			return be8(e.ExecuteAfter) + e.key(), e.Result == nil && e.Session == "" && !e.Due
		}),
		by("session", func(e *Execution) (string, bool) {
			return join(e.Session) + e.key(), e.Session != "" && e.Result == nil
		}),
		by("memo", func(e *Execution) (string, bool) { return e.memoKey(), e.memoisable() }),
		by("linked", func(e *Execution) (string, bool) {
			if e.Result == nil || e.Result.Link == "" {
				return "", false
			}
			return join(e.Result.Link) + e.key(), true
		}),
		by("defer", func(e *Execution) (string, bool) {
			return join(e.Workspace, e.Module, e.Target, e.DeferKey) + e.key(), e.DeferKey != "" && e.Result == nil && e.Session == ""
		}),
		by("cache", func(e *Execution) (string, bool) {
			return join(e.Workspace, e.CacheKey) + be8(e.CreatedAt) + e.key(), e.CacheKey != "" && (e.Result == nil || e.Result.Type == ResultValue)
		}),
		by("open", func(e *Execution) (string, bool) { return join(e.Workspace) + e.key(), e.Result == nil }),
		by("ended", func(e *Execution) (string, bool) { return be8(e.CompletedAt) + e.key(), e.Step == 1 && e.Result != nil }),
	}},
	{TableDependencies, "dependencies", func() Row { return &Dependency{} }, []index{
		by("input", func(d *Dependency) (string, bool) {
			_, ok := ParseInputID(d.On)
			return join(d.On) + d.key(), ok
		}),
	}},
	{TableGroups, "groups", func() Row { return &Group{} }, nil},
	{TableRequests, "requests", func() Row { return &Request{} }, []index{
		by("expiry", func(r *Request) (string, bool) { return be8(r.ExpiresAt) + r.key(), true }),
	}},
	{TableSweeps, "sweeps", func() Row { return &Sweep{} }, nil},
	{TableMembers, "members", func() Row { return &Member{} }, nil},
	{TableHits, "hits", func() Row { return &Hit{} }, []index{
		by("execution", func(h *Hit) (string, bool) { return join(h.Execution) + h.key(), h.Execution != "" }),
	}},
	{TableWorkflows, "workflows", func() Row { return &Workflow{} }, nil},
	{TableInputs, "inputs", func() Row { return &Input{} }, []index{
		by("cause", func(i *Input) (string, bool) { return join(i.Execution) + be8(i.Request), true }),
		by("key", func(i *Input) (string, bool) { return join(i.Run, i.Workspace, i.Key) + i.key(), i.Key != "" }),
		by("open", func(i *Input) (string, bool) {
			return join(i.Workspace) + be8(i.CreatedAt) + i.key(), i.Response == nil
		}),
	}},
	{TableWaits, "waits", func() Row { return &Wait{} }, []index{
		by("on", func(w *Wait) (string, bool) { return join(w.Kind, w.On) + w.key(), true }),
	}},
	{TablePacks, "packs", func() Row { return &Pack{} }, []index{
		by("last", func(p *Pack) (string, bool) { return join(p.Workspace) + be8(p.Last) + p.ID, true }),
	}},
	{TableKept, "kept", func() Row { return &Kept{} }, []index{
		by("age", func(k *Kept) (string, bool) { return be8(k.CreatedAt) + k.key(), true }),
	}},
	{TableTallies, "tallies", func() Row { return &Tally{} }, nil},
	{TableAssets, "assets", func() Row { return &Asset{} }, nil},
	{TablePersisted, "persisted", func() Row { return &Persisted{} }, nil},
}

// tables is specs by number and by memdb name.
type tables struct {
	byNumber map[Table]spec
	byName   map[string]spec
}

func newTables() tables {
	t := tables{map[Table]spec{}, map[string]spec{}}
	for _, s := range specs {
		t.byNumber[s.number] = s
		t.byName[s.name] = s
	}
	return t
}

// known is built once from specs and only read.
var known = newTables()

func (t Table) name() string { return known.byNumber[t].name }

// String is the table's name.
func (t Table) String() string {
	if s, ok := known.byNumber[t]; ok {
		return s.name
	}
	return fmt.Sprintf("table %d", uint8(t))
}

func schema() *memdb.DBSchema {
	out := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, s := range specs {
		ts := &memdb.TableSchema{Name: s.name, Indexes: map[string]*memdb.IndexSchema{
			"id": {Name: "id", Unique: true, Indexer: indexer{func(r Row) (string, bool) { return r.key(), true }}},
		}}
		for _, ix := range s.indexes {
			ts.Indexes[ix.name] = &memdb.IndexSchema{Name: ix.name, Unique: true, AllowMissing: true, Indexer: indexer{ix.key}}
		}
		out.Tables[s.name] = ts
	}
	return out
}

// indexer lets memdb use a key function; arguments are ready-made keys.
type indexer struct{ key func(Row) (string, bool) }

// FromObject implements memdb.SingleIndexer.
func (i indexer) FromObject(obj any) (bool, []byte, error) {
	k, ok := i.key(obj.(Row))
	if !ok {
		return false, nil, nil // memdb compares the value even so, and would leave the row's old place in the index
	}
	return true, []byte(k), nil
}

// FromArgs implements memdb.Indexer.
func (i indexer) FromArgs(args ...any) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("one key expected, got %d", len(args))
	}
	return []byte(args[0].(string)), nil
}

// PrefixFromArgs implements memdb.PrefixIndexer.
func (i indexer) PrefixFromArgs(args ...any) ([]byte, error) { return i.FromArgs(args...) }
