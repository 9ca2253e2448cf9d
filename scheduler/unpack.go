package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// CodePacked: a run that the decision needs is packed; the leader unpacks it (Details "run") and asks again. Nobody else
// sees it.
const CodePacked = "packed"

// CodeBusy: the run is just being put away; the leader asks again.
const CodeBusy = "busy"

// present refuses a decision that needs a run which is packed, as far as the workspace can see it.
func (d *decision) present(workspace, run string) error {
	if run == "" || d.Run(run) != nil {
		return nil
	}
	if p := VisiblePack(&d.View, workspace, run); p != nil && p.Has(run) {
		return &Error{Code: CodePacked, Message: "run " + run + " is packed", Details: map[string]string{"run": run}}
	}
	return nil
}

// VisiblePack gives the pack of a run as seen from a workspace: nil for one that is not packed or belongs to another project.
func VisiblePack(v *state.View, workspace, run string) *state.Pack {
	p := v.Packed(run)
	if p == nil || p.Workspace != workspace && v.Project(p.Workspace) != v.Project(workspace) {
		return nil
	}
	return p
}

// presentAll is present for what is awaited in the listed arguments. Of what the values found there refer to, the packed is over.
func (d *decision) presentAll(workspace string, waitFor []int, arguments []state.Value) error {
	for _, i := range waitFor {
		if i < 0 || i >= len(arguments) {
			continue
		}
		for _, ref := range arguments[i].References {
			if ref.Kind != state.KindExecution && ref.Kind != state.KindInput {
				continue
			}
			if err := d.present(workspace, state.RunOf(ref.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}

// UnpackRuns has packed runs return to the tables. It is asked by the leader itself. What their links lead to has to be in
// the tables, or to come with them.
type UnpackRuns struct {
	Runs []UnpackedRun
}

// UnpackedRun is a run from a pack, or a part of one.
type UnpackedRun struct {
	Run, Pack string
	// Rows as state.EncodeRun gives them, the run's own last.
	Rows []state.Effect
	// More parts follow. What came is erased if another leader comes before the last one.
	More bool
	// Digest of all its rows, as state.EncodeRun gives it.
	Digest uint64
}

func (r *UnpackRuns) decide(d *decision) (Answer, error) {
	for i := range r.Runs {
		if err := d.unpack(&r.Runs[i]); err != nil {
			return Answer{}, err
		}
	}
	for _, run := range r.Runs {
		for e := range d.RunExecutions(run.Run, 0) {
			if run.More || e.Result == nil || e.Result.Link == "" || e.Result.Value != nil {
				continue
			}
			if id, _ := state.ParseExecutionID(e.Result.Link); d.Execution(id) == nil {
				if err := d.present(e.Workspace, id.Run); err != nil {
					return Answer{}, err
				}
			}
		}
	}
	return Answer{}, nil
}

func (d *decision) unpack(r *UnpackedRun) error {
	if d.Run(r.Run) != nil {
		return nil // a repeat
	}
	pack := d.Pack(r.Pack)
	if pack == nil || !pack.Has(r.Run) {
		return refuse(CodeBusy, "run %s has left pack %s", r.Run, r.Pack)
	}
	erase := d.Sweep(eraseOf(r.Run))
	if erase != nil && !erase.Held {
		return refuse(CodeBusy, "run %s is just being put away", r.Run)
	}
	for _, row := range r.Rows {
		if err := d.Load(row); err != nil {
			return err
		}
	}
	if r.More {
		d.Put(&state.Sweep{ID: eraseOf(r.Run), Kind: state.SweepErase, Subject: r.Run, Held: true})
		return nil
	}
	if _, digest, err := state.EncodeRun(&d.View, r.Run); err != nil || digest != r.Digest {
		return refuse(CodeBusy, "not all rows of run %s have come", r.Run)
	}
	if erase != nil {
		d.Delete(erase)
	}
	var stay []string
	for id := range pack.List() {
		if id != r.Run {
			stay = append(stay, id)
		}
	}
	left := *pack
	left.Runs = state.Lines(stay...)
	d.putPack(&left)
	return nil
}

// EraseLeftovers has what an earlier leader did not come to unpack as a whole be removed. A new leader asks for it first.
type EraseLeftovers struct{}

func (r *EraseLeftovers) decide(d *decision) (Answer, error) {
	for s := range d.Sweeps() {
		if s.Held {
			free := *s
			free.Held = false
			d.Put(&free)
		}
	}
	return Answer{}, nil
}
