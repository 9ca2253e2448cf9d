package state

import "fmt"

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

// spec describes one table: its number, its name, an empty row, and its indexes beside "id", the one by the rows' own keys.
type spec struct {
	number  Table
	name    string
	empty   func() Row
	indexes []index
	// first is the number of the table's first tree, that of "id"; those of indexes follow.
	first int
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
	{TableMeta, "meta", func() Row { return &Meta{} }, nil, 0},
	{TableSettings, "settings", func() Row { return &Setting{} }, nil, 0},
	{TableWorkspaces, "workspaces", func() Row { return &Workspace{} }, []index{
		by("name", func(w *Workspace) (string, bool) { return join(w.Project, w.Name, w.ID), w.Live() }),
		by("project", func(w *Workspace) (string, bool) { return join(w.Project, w.ID), true }),
		by("base", func(w *Workspace) (string, bool) { return join(w.Base, w.ID), w.Base != "" && w.Live() }),
	}, 0},
	{TableSessions, "sessions", func() Row { return &Session{} }, []index{
		by("node", func(s *Session) (string, bool) { return join(s.Node, s.ID), true }),
		by("workspace", func(s *Session) (string, bool) { return join(s.Workspace, s.ID), true }),
	}, 0},
	{TableRuns, "runs", func() Row { return &Run{} }, []index{
		by("created", func(r *Run) (string, bool) { return join(r.Workspace) + be8(r.CreatedAt) + r.ID, true }),
		by("target", func(r *Run) (string, bool) {
			return join(r.Workspace, r.Module, r.Target) + be8(r.CreatedAt) + r.ID, true
		}),
	}, 0},
	{TableSteps, "steps", func() Row { return &Step{} }, []index{
		by("cause", func(s *Step) (string, bool) { return join(s.Parent) + be8(s.Request), s.Parent != "" }),
	}, 0},
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
	}, 0},
	{TableDependencies, "dependencies", func() Row { return &Dependency{} }, []index{
		by("input", func(d *Dependency) (string, bool) {
			_, ok := ParseInputID(d.On)
			return join(d.On) + d.key(), ok
		}),
	}, 0},
	{TableGroups, "groups", func() Row { return &Group{} }, nil, 0},
	{TableRequests, "requests", func() Row { return &Request{} }, []index{
		by("expiry", func(r *Request) (string, bool) { return be8(r.ExpiresAt) + r.key(), true }),
	}, 0},
	{TableSweeps, "sweeps", func() Row { return &Sweep{} }, nil, 0},
	{TableMembers, "members", func() Row { return &Member{} }, nil, 0},
	{TableHits, "hits", func() Row { return &Hit{} }, []index{
		by("execution", func(h *Hit) (string, bool) { return join(h.Execution) + h.key(), h.Execution != "" }),
	}, 0},
	{TableWorkflows, "workflows", func() Row { return &Workflow{} }, nil, 0},
	{TableInputs, "inputs", func() Row { return &Input{} }, []index{
		by("cause", func(i *Input) (string, bool) { return join(i.Execution) + be8(i.Request), true }),
		by("key", func(i *Input) (string, bool) { return join(i.Run, i.Workspace, i.Key) + i.key(), i.Key != "" }),
		by("open", func(i *Input) (string, bool) {
			return join(i.Workspace) + be8(i.CreatedAt) + i.key(), i.Response == nil
		}),
	}, 0},
	{TableWaits, "waits", func() Row { return &Wait{} }, []index{
		by("on", func(w *Wait) (string, bool) { return join(w.Kind, w.On) + w.key(), true }),
	}, 0},
	{TablePacks, "packs", func() Row { return &Pack{} }, []index{
		by("last", func(p *Pack) (string, bool) { return join(p.Workspace) + be8(p.Last) + p.ID, true }),
	}, 0},
	{TableKept, "kept", func() Row { return &Kept{} }, []index{
		by("age", func(k *Kept) (string, bool) { return be8(k.CreatedAt) + k.key(), true }),
	}, 0},
	{TableTallies, "tallies", func() Row { return &Tally{} }, nil, 0},
	{TableAssets, "assets", func() Row { return &Asset{} }, nil, 0},
	{TablePersisted, "persisted", func() Row { return &Persisted{} }, nil, 0},
}

// maxIndexes is how many indexes a table has at most, "id" among them.
const maxIndexes = 10

// tables is specs by number; trees is how many indexes all have.
type tables struct {
	byNumber map[Table]spec
	trees    int
}

func newTables() tables {
	t := tables{byNumber: map[Table]spec{}}
	for _, s := range specs {
		if s.first = t.trees; len(s.indexes) >= maxIndexes {
			panic(fmt.Sprintf("table %s has too many indexes", s.name)) // a bug, met by every test
		}
		t.byNumber[s.number] = s
		t.trees += 1 + len(s.indexes)
	}
	return t
}

// known is built once from specs and only read.
var known = newTables()

// tree is the number of the tree of an index; "id" is the one by the rows' own keys.
func (t Table) tree(index string) int {
	s := known.byNumber[t]
	if index == "id" {
		return s.first
	}
	for i, ix := range s.indexes {
		if ix.name == index {
			return s.first + 1 + i
		}
	}
	panic(fmt.Sprintf("table %v has no index %q", t, index)) // a bug, never data
}

// String is the table's name.
func (t Table) String() string {
	if s, ok := known.byNumber[t]; ok {
		return s.name
	}
	return fmt.Sprintf("table %d", uint8(t))
}
