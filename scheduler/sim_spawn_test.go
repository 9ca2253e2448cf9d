package scheduler_test

import (
	"fmt"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// begins books what happens to an execution when it is made, and again when its time has come.
func (o *oracle) begins(e *oracleExec, now int64) error {
	if err := o.useCache(e, now); err != nil {
		return err
	}
	return o.spawns(e, now)
}

// spawns books the run that a call of a workflow has become.
func (o *oracle) spawns(e *oracleExec, now int64) error {
	if !e.workflow || e.result != "" || e.doomed || e.waiting || !o.live(e.workspace) {
		return nil
	}
	id, _ := state.ParseExecutionID(e.id)
	row := o.view.Execution(id)
	if row.Result == nil || row.Result.Type != state.ResultSpawned {
		return fmt.Errorf("%s has become no run", e.id)
	}
	link, _ := state.ParseExecutionID(row.Result.Link)
	if _, taken := o.runs[link.Run]; taken {
		return fmt.Errorf("%s has become run %s, which was there", e.id, link.Run)
	}
	root := &oracleExec{id: row.Result.Link, workspace: e.workspace, parent: e, spawnedBy: e, due: now, retries: e.retries, same: e.same, maxAge: e.maxAge, needs: e.needs,
		recurrent: e.recurrent, delay: e.delay, durable: e.durable}
	e.link, e.result = root, "spawned "+root.id
	e.children = append(e.children, root)
	o.runs[link.Run], o.runTags[link.Run], o.runDurable[link.Run] = 0, e.tags(), e.durable
	return o.add(root, link.Run, now)
}

// tags are what an execution needs, as the run that it becomes has them.
func (e *oracleExec) tags() state.Tags {
	tags := state.Tags{}
	for name, values := range e.needs {
		for v := range values {
			tags[name] = append(tags[name], v)
		}
	}
	return tags
}
