package state

import "iter"

// Run is one triggered workflow with all that came of it.
type Run struct {
	rowCommon
	ID        string `codec:"id"`
	Workspace string `codec:"w"`
	// Module and Target are those of the root step, so that lists need not read it.
	Module string `codec:"m"`
	Target string `codec:"t"`
	// CreatedAt is log time, milliseconds.
	CreatedAt int64 `codec:"c"`
	// Steps is the number of steps so far; the next one gets Steps+1.
	Steps int `codec:"n"`
	// RequestID is the cause: the ULID of the request that created the run.
	RequestID string `codec:"q"`
	// Parent is the execution that called the workflow, "" for a run that was started from outside.
	Parent string `codec:"p,omitempty"`
	// Requires are the tags that its steps inherit.
	Requires Tags `codec:"rq,omitempty"`
	// Memo: its steps are memoised unless they say otherwise.
	Memo bool `codec:"mo,omitempty"`
	// Inputs is the number of inputs so far; the next one gets Inputs+1.
	Inputs int `codec:"in,omitempty"`
	// Durable: a call is known by its caller's step, its arguments and how many equal ones came before it, unless it says
	// otherwise by its own memo.
	Durable bool `codec:"du,omitempty"`
}

func (*Run) table() Table { return TableRuns }

func (r *Run) shared(share func(*string)) {
	share(&r.Workspace)
	share(&r.Module)
	share(&r.Target)
}
func (r *Run) key() string { return r.ID }

// Run reads a run, nil when there is none.
func (v *View) Run(id string) *Run { return one[*Run](v, TableRuns, "id", id) }

// RunsByWorkspace walks a workspace's runs, newest first, from those created before (before, beforeID); a zero
// before starts at the newest.
func (v *View) RunsByWorkspace(workspace string, before int64, beforeID string) iter.Seq[*Run] {
	return walkBack[*Run](v, TableRuns, "created", join(workspace), before, beforeID)
}

// RunsByTarget walks the runs of one workflow, newest first.
func (v *View) RunsByTarget(workspace, module, target string) iter.Seq[*Run] {
	return walkBack[*Run](v, TableRuns, "target", join(workspace, module, target), 0, "")
}
