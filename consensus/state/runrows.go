package state

import (
	"fmt"
	"iter"

	"github.com/cespare/xxhash/v2"
)

// runTables are the tables whose rows belong to a run, each with what their keys begin with. The run's own row is not here.
var runTables = []struct {
	table  Table
	prefix func(run string) string
}{
	{TableSteps, func(run string) string { return run + "\x00" }},
	{TableExecutions, func(run string) string { return run + "\x00" }},
	{TableInputs, func(run string) string { return run + "\x00" }},
	{TableDependencies, func(run string) string { return run + ":" }}, // keys of these begin with an execution's id
	{TableGroups, func(run string) string { return run + ":" }},
	{TableHits, func(run string) string { return run + ":" }},
	{TableWaits, func(run string) string { return run + ":" }},
	{TablePersisted, func(run string) string { return run + ":" }},
}

// RunRows walks all rows of a run, its own last.
func (v *View) RunRows(run string) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for _, t := range runTables {
			for r := range walk[Row](v, t.table, "id", t.prefix(run), "") {
				if !yield(r) {
					return
				}
			}
		}
		if r := v.Run(run); r != nil {
			yield(r)
		}
	}
}

// EncodeRow gives the effect that puts a row.
func EncodeRow(r Row) (Effect, error) {
	body, err := encode(r)
	return Effect{Table: r.table(), Row: body}, err
}

// EncodeRun gives the effects that put all rows of a run, its own last, and their digest.
func EncodeRun(v *View, run string) (rows []Effect, digest uint64, err error) {
	for r := range v.RunRows(run) {
		effect, err := EncodeRow(r)
		if err != nil {
			return nil, 0, err
		}
		rows = append(rows, effect)
	}
	return rows, RowsDigest(rows), nil
}

// RowsDigest tells whether two lists of rows are the same.
func RowsDigest(rows []Effect) uint64 {
	d := xxhash.New()
	for _, e := range rows {
		_, _ = fmt.Fprintf(d, "%d %d ", e.Table, len(e.Row))
		_, _ = d.Write(e.Row)
	}
	return d.Sum64()
}

// Load puts an encoded row.
func (t *Tx) Load(e Effect) error {
	r, err := e.row()
	if err != nil {
		return err
	}
	t.Put(r)
	return nil
}

// NewView gives a view of nothing but these rows.
func NewView(rows []Effect) (*View, error) {
	txn := newTrees()
	for _, e := range rows {
		r, err := e.row()
		if err != nil {
			return nil, err
		}
		txn.put(r)
	}
	return &View{txn: reading(txn.trees)}, nil
}

// Beside gives a view of v's rows and, where v has none with the key, those of the other. It is for what reads by keys: what
// goes through a whole table in order meets the other's rows at the end.
func (v *View) Beside(other *View) *View {
	both := *v
	both.beside = other
	return &both
}

// without leaves out what v's own tables have.
func without[T Row](v *View, t Table, rows iter.Seq[T]) iter.Seq[T] {
	own := &View{txn: v.txn}
	return func(yield func(T) bool) {
		for r := range rows {
			if one[Row](own, t, "id", r.key()) == nil && !yield(r) {
				return
			}
		}
	}
}
