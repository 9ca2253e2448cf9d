package checker

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// runState is what a run is to its readers.
type runState struct {
	exists bool
	// ended: it has a result. What it is becomes known with the first read; until then outcome is empty.
	ended   bool
	outcome outcome
}

// runModel is one run: submit makes it, it ends at some time by itself or by a cancellation, and stays as it ended.
var runModel = porcupine.Model{
	Init: func() any { return runState{} },
	Step: func(s, in, _ any) (bool, any) { return stepRun(s.(runState), in.(Operation)) },
}

func stepRun(s runState, op Operation) (bool, runState) {
	switch op.Op {
	case "submit":
		s.exists = true
		return true, s
	case "cancel":
		if op.Phase == "info" && !s.exists {
			return true, s
		}
		s.ended = s.ended || s.exists
		return s.exists, s
	}
	switch {
	case op.Error == "not_found":
		return !s.exists, s
	case !s.exists:
		return false, s
	case op.Status == unfinished:
		return !s.ended, s
	case s.outcome == outcome{}:
		s.ended, s.outcome = true, op.outcome()
		return true, s
	default:
		return s.outcome == op.outcome(), s
	}
}

// checkLinearizable partitions by run and asks porcupine; stale reads only have to be monotonic for each client.
func checkLinearizable(h *History, f *finding) {
	runs := map[string][]porcupine.Operation{}
	reran, submitted := map[string]bool{}, map[string]bool{}
	for _, op := range h.Ops {
		if op.Op == "rerun" && strings.HasSuffix(op.Step, ":1") {
			reran[runOf(op.Step)] = true // the run's outcome changes: not this model
		}
		if op.Op == "submit" && op.Phase == "ok" {
			submitted[op.Run] = true
		}
	}
	for _, op := range h.Ops {
		run := op.Run
		if run == "" {
			run = runOf(op.Execution)
		}
		if run == "" || op.Stale || !relevant(op) {
			continue
		}
		runs[run] = append(runs[run], porcupine.Operation{Input: op, Call: op.Begin, Return: op.At})
	}
	for _, run := range slices.Sorted(maps.Keys(runs)) {
		if reran[run] || !submitted[run] {
			continue
		}
		f.look()
		switch porcupine.CheckOperationsTimeout(runModel, once(runs[run]), 20*time.Second) {
		case porcupine.Illegal:
			f.problem("the reads of run %s fit no order of what happened", run)
		case porcupine.Unknown:
			f.problem("the reads of run %s could not be decided within 20 s", run)
		}
	}
	h.monotonic(f)
}

// relevant tells whether an operation says something about the order: reads that failed say nothing, but for not_found.
func relevant(op Operation) bool {
	switch op.Op {
	case "submit":
		return op.Phase == "ok"
	case "cancel":
		return op.Phase != "fail" && (op.Execution == "" || op.Execution == op.Run+":1:1")
	case "get", "result":
		return op.Phase == "ok" || op.Phase == "fail" && op.Error == "not_found"
	}
	return false
}

// once leaves of several acknowledgements of one run (one key, or repeats) those that can have made it.
func once(ops []porcupine.Operation) []porcupine.Operation {
	first := never
	for _, op := range ops {
		if op.Input.(Operation).Op == "submit" {
			first = min(first, op.Return)
		}
	}
	return slices.DeleteFunc(ops, func(op porcupine.Operation) bool {
		return op.Input.(Operation).Op == "submit" && op.Call > first
	})
}

// monotonic: what a client reads never goes back behind what it had read before it asked.
func (h *History) monotonic(f *finding) {
	reads := map[string][]Operation{}
	for _, op := range h.Ops {
		if op.Phase == "ok" && op.Index != 0 && op.Client != "" {
			reads[op.Client] = append(reads[op.Client], op)
		}
	}
	for _, client := range slices.Sorted(maps.Keys(reads)) {
		byEnd := slices.Clone(reads[client])
		slices.SortFunc(byEnd, func(a, b Operation) int { return cmp.Compare(a.At, b.At) })
		slices.SortFunc(reads[client], func(a, b Operation) int { return cmp.Compare(a.Begin, b.Begin) })
		var newest Operation
		for _, op := range reads[client] {
			f.look()
			for ; len(byEnd) > 0 && byEnd[0].At < op.Begin; byEnd = byEnd[1:] {
				if byEnd[0].Index > newest.Index {
					newest = byEnd[0]
				}
			}
			if op.Index < newest.Index {
				f.problem("client %s read index %d (operation %d) after index %d (operation %d)", client, op.Index, op.ID, newest.Index, newest.ID)
			}
		}
	}
}
