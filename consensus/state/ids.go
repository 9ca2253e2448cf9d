package state

import (
	"strconv"
	"strings"
)

// StepID names a step: run id and number, written `R:3`.
type StepID struct {
	Run    string
	Number int
}

// ExecutionID names one attempt of a step, written `R:3:1`.
type ExecutionID struct {
	Run     string
	Step    int
	Attempt int
}

func (id StepID) String() string { return id.Run + ":" + strconv.Itoa(id.Number) }

func (id ExecutionID) String() string {
	return id.Run + ":" + strconv.Itoa(id.Step) + ":" + strconv.Itoa(id.Attempt)
}

// StepID is the step that the execution is an attempt of.
func (id ExecutionID) StepID() StepID { return StepID{Run: id.Run, Number: id.Step} }

// IsZero tells the absent id.
func (id ExecutionID) IsZero() bool { return id.Run == "" }

// ParseStepID reads `R:3`. ok is false for anything else.
func ParseStepID(s string) (id StepID, ok bool) {
	run, rest, found := strings.Cut(s, ":")
	n, good := positive(rest)
	if !found || run == "" || !good {
		return StepID{}, false
	}
	return StepID{Run: run, Number: n}, true
}

// ParseExecutionID reads `R:3:1`. ok is false for anything else.
func ParseExecutionID(s string) (id ExecutionID, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return ExecutionID{}, false
	}
	step, ok := ParseStepID(s[:i])
	n, good := positive(s[i+1:])
	if !ok || !good {
		return ExecutionID{}, false
	}
	return ExecutionID{Run: step.Run, Step: step.Number, Attempt: n}, true
}

// positive reads a number of 1 to 2^31-1 written without sign or leading zeros.
func positive(s string) (int, bool) {
	if s == "" || len(s) > 10 || s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return int(n), err == nil && n > 0
}

// RunOf is the run in the id of an execution, step, input or run.
func RunOf(id string) string {
	if i := strings.IndexAny(id, ":/"); i >= 0 {
		return id[:i]
	}
	return id
}
