package scheduler

import "github.com/coflux-mesh/coflux/consensus/state"

// nowDue does what comes before placement when the time of an execution has come, and again when what it waits for is final:
// a first attempt may be a cache hit, waiting or not, and a call of a workflow becomes a run of its own.
func (d *decision) nowDue(id state.ExecutionID) {
	e := d.Execution(id)
	if id.Attempt == 1 && e.Timely() && e.CacheKey != "" {
		d.useCache(e)
		e = d.Execution(id)
	}
	if e.Queued() && e.Type == state.TypeWorkflow && !d.underCancel(e) && !d.archived(e.Workspace) {
		if step := d.Step(id.StepID()); step.Parent != "" {
			d.spawn(e, step)
		}
	}
}

// maxSpawnArguments bounds the arguments of a call that becomes a run, in bytes as sizeOf counts them: what is written then
// must fit an entry, or it would hold up whatever is due after it.
const maxSpawnArguments = state.MaxEntry * 3 / 4

// sizeOf is what values take in a row, bytes, at most.
func sizeOf(values []state.Value) (bytes int) {
	const fields = 64 // names of fields and lengths, of a value or a reference
	for i := range values {
		bytes += len(values[i].Data) + len(values[i].BlobKey) + fields
		for _, r := range values[i].References {
			bytes += len(r.Kind) + len(r.ID) + len(r.Module) + len(r.Target) + len(r.Format) + len(r.BlobKey) + len(r.Metadata) + len(r.Name) + fields
		}
	}
	return bytes
}

// spawn starts a run for the call of a workflow (semantics 5): with the arguments, tags, retries, cache and timeout of the
// call; what comes before the start, delay and defer, is over, but for the pauses of what recurs. Somebody waits for its
// root, so that comes before new runs.
func (d *decision) spawn(e *state.Execution, call *state.Step) {
	run := &state.Run{
		ID: d.newRunID(), Workspace: e.Workspace, Module: e.Module, Target: e.Target, CreatedAt: d.now, Steps: 1,
		Requires: effective(d.Run(e.Run), call), Parent: e.ID().String(), Durable: call.Durable,
	}
	root := &state.Step{
		Run: run.ID, Number: 1, Module: call.Module, Target: call.Target, Type: state.TypeWorkflow, Arguments: call.Arguments,
		Timeout: call.Timeout, Delay: call.Delay, Recurrent: call.Recurrent, Retries: call.Retries, Cache: call.Cache, CacheKey: call.CacheKey, CreatedAt: d.now,
		Durable: call.Durable,
	}
	d.Put(run)
	d.Put(root)
	first := d.newAttempt(root, run.Workspace, 1, state.TierChild)
	d.finish(e, &state.Result{Type: state.ResultSpawned, Link: first.ID().String()})
	d.queue(first, 0)
}

// spawned is the root that the call of a workflow has become, nil when it is none.
func (d *decision) spawned(e *state.Execution) *state.Execution {
	if e.Result == nil || e.Result.Type != state.ResultSpawned {
		return nil
	}
	id, _ := state.ParseExecutionID(e.Result.Link)
	return d.Execution(id)
}
