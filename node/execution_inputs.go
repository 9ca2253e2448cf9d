package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/schema"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
)

// Input asks a person a question. The schema is checked here: it never changes, so that nobody has to do it again.
func (e *execution) Input(req pyexec.InputRequest, reply func(pyexec.InputReply, error)) {
	e.effects.do(func() {
		fail := func(err error) { reply(pyexec.InputReply{}, err) }
		if err := checkInput(&req); err != nil {
			fail(inputError(err.Error()))
			return
		}
		r := &scheduler.SubmitInput{Execution: e.id, Number: req.Number, Key: req.Key, Template: req.Template, Schema: req.Schema,
			Initial: req.Initial, Title: req.Title, Actions: req.Actions, Requires: req.Requires}
		for _, name := range slices.Sorted(maps.Keys(req.Placeholders)) {
			v := req.Placeholders[name]
			value, err := e.a.Values.toState(e.ctx, &v)
			if err != nil {
				fail(&pyexec.RequestError{Code: "input_error", Message: fmt.Sprintf("placeholder %s: %v", name, err)})
				return
			}
			r.Placeholders = append(r.Placeholders, state.Placeholder{Name: name, Value: value})
		}
		e.ask(r, func(p scheduler.Reply) {
			if p.Err != nil {
				fail(inputError(p.Err.Error()))
				return
			}
			reply(pyexec.InputReply{InputID: p.Answer.InputID}, nil)
		})
	})
}

// inputError refuses a question in the words of adapter-protocol 4.5.
func inputError(text string) error {
	return &pyexec.RequestError{Code: "input_error", Message: "server error: " + text}
}

// checkInput says why an answer could not be checked, or not be started from what is given.
func checkInput(req *pyexec.InputRequest) error {
	if string(req.Initial) == "null" {
		req.Initial = nil
	}
	switch {
	case req.Schema == "" && req.Initial == nil:
		return nil
	case req.Schema == "":
		return fmt.Errorf("invalid_initial: initial value requires a schema")
	}
	if err := schema.Check(req.Schema); err != nil {
		return fmt.Errorf("invalid_schema: %w", err)
	}
	if req.Initial != nil {
		if err := schema.CheckInitial(req.Schema, req.Initial); err != nil {
			return fmt.Errorf("invalid_initial: %w", err)
		}
	}
	return nil
}

// responseToPython is a response as a waiting body sees it: the answer is plain JSON.
func (v values) responseToPython(ctx context.Context, winner int, r *state.Response) (*pyexec.Outcome, error) {
	out := &pyexec.Outcome{Winner: winner}
	switch r.Type {
	case state.ResponseValue:
		value, err := v.toPython(ctx, r.Value)
		if err != nil {
			return nil, err
		}
		out.Status, out.Value = pyexec.StatusOK, &value
	case state.ResponseDismissed:
		out.Status = pyexec.StatusDismissed
	case state.ResponseCancelled:
		out.Status = pyexec.StatusCancelled
	default:
		return nil, fmt.Errorf("the response of type %d is not known to this version", r.Type)
	}
	return out, nil
}

// selectHandles are the ids of what is waited for: those of inputs have a slash, so that they say what they are.
func selectHandles(handles []pyexec.Handle) (ids []string, err error) {
	for _, h := range handles {
		if !fits(h) {
			return nil, unknownHandle(h.ID, h.Type == "input")
		}
		ids = append(ids, h.ID)
	}
	return ids, nil
}

// cancelHandles are the ids of what is to be cancelled; what does not exist is skipped.
func cancelHandles(handles []pyexec.Handle) (ids []string) {
	for _, h := range handles {
		if fits(h) {
			ids = append(ids, h.ID)
		}
	}
	return ids
}

// fits tells whether the id of a handle is of its type.
func fits(h pyexec.Handle) bool {
	_, input := state.ParseInputID(h.ID)
	_, execution := state.ParseExecutionID(h.ID)
	return h.Type == "input" && input || h.Type == "execution" && execution
}

// unknownHandle refuses a wait for what does not exist.
func unknownHandle(id string, input bool) error {
	message := fmt.Sprintf("not_found: execution %s does not exist", id)
	if input {
		message = fmt.Sprintf("input_not_found: input %s does not exist", id)
	}
	return &pyexec.RequestError{Code: "select_error", Message: message}
}
