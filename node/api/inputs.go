package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/schema"
	"github.com/coflux-mesh/coflux/scheduler"
)

// maxInputs is how many inputs the list shows; the header Coflux-Left-Off says how many more there are.
const maxInputs = 10_000

// inputSummary is an entry of the list of inputs.
type inputSummary struct {
	RunID     string              `json:"runId"`
	CreatedAt int64               `json:"createdAt"`
	Title     *string             `json:"title"`
	Requires  map[string][]string `json:"requires"`
}

// inputStatus is an input as the run document shows it; Status is null while it is open.
type inputStatus struct {
	Title  *string `json:"title"`
	Status *string `json:"status"`
}

// inputDoc is one input.
type inputDoc struct {
	Key          *string              `json:"key"`
	Template     string               `json:"template"`
	Placeholders map[string]*valueDoc `json:"placeholders"`
	Schema       *string              `json:"schema"` // JSON Schema as JSON text
	Initial      json.RawMessage      `json:"initial"`
	Title        *string              `json:"title"`
	Actions      []string             `json:"actions"` // labels: respond, dismiss
	Requires     map[string][]string  `json:"requires"`
	CreatedAt    int64                `json:"createdAt"`
	Response     *responseDoc         `json:"response"`
	// Active says that an execution which is not over waits for it; only in topics.
	Active *bool `json:"active,omitempty"`
}

// responseDoc is how an input ended. Value is absent for null and for what is no answer.
type responseDoc struct {
	Type      string          `json:"type"`
	CreatedAt int64           `json:"createdAt"`
	CreatedBy *actor          `json:"createdBy"`
	Value     json.RawMessage `json:"value,omitempty"`
}

// inputs lists what people are asked in a workspace: the open inputs that somebody waits for.
func (s *Server) inputs(w http.ResponseWriter, r *http.Request) error {
	workspace := r.PathValue("workspace")
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	doc, left := newInputsDoc(reading.View, workspace, maxInputs)
	if left > 0 {
		w.Header().Set("Coflux-Left-Off", decimal(left))
	}
	writeJSON(w, http.StatusOK, doc)
	return nil
}

func newInputsDoc(v *state.View, workspace string, limit int) (doc map[string]inputSummary, left int) {
	doc = map[string]inputSummary{}
	for in := range v.OpenInputs(workspace) {
		switch {
		case !scheduler.Awaited(v, in.ID()):
		case len(doc) == limit:
			left++
		default:
			doc[in.ID().String()] = inputSummary{in.Run, in.CreatedAt, textOrNil(in.Title), tags(in.Requires)}
		}
	}
	return doc, left
}

// input shows one input as a topic.
func (s *Server) input(w http.ResponseWriter, r *http.Request) error {
	return s.showInput(w, r, r.PathValue("input"), true)
}

// getInput shows one input, asked with a body.
func (s *Server) getInput(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	id := b.required("inputId", plainText, maxName)
	if err := b.err(); err != nil {
		return err
	}
	return s.showInput(w, r, id, false)
}

func (s *Server) showInput(w http.ResponseWriter, r *http.Request, id string, topic bool) error {
	project, err := s.project(r)
	if err != nil {
		return err
	}
	reading, err := s.read(w, r)
	if err != nil {
		return err
	}
	reading.View, err = s.besideInput(r.Context(), reading.View, id)
	if err != nil {
		return err
	}
	in, err := inputIn(reading.View, project, id)
	if err != nil {
		return err
	}
	doc := newInputDoc(reading.View, in)
	if topic {
		active := scheduler.Awaited(reading.View, in.ID())
		doc.Active = &active
	}
	if doc.Response != nil && in.Response.Value != nil {
		if doc.Response.Value, err = s.plainValue(r.Context(), in.Response.Value); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusOK, doc)
	return nil
}

// plainValue reads an answer from where it lies; nil for null.
func (s *Server) plainValue(ctx context.Context, v *state.Value) (json.RawMessage, error) {
	data := v.Data
	if v.BlobKey != "" {
		content, _, err := s.Backend.BlobOpen(ctx, v.BlobKey)
		if err != nil {
			return nil, err
		}
		defer content.Close()
		if data, err = io.ReadAll(content); err != nil {
			return nil, err
		}
	}
	if string(data) == "null" {
		return nil, nil
	}
	return rawJSON(data), nil
}

func newInputDoc(v *state.View, in *state.Input) *inputDoc {
	doc := &inputDoc{Key: textOrNil(in.Key), Template: in.Template, Placeholders: map[string]*valueDoc{}, Schema: textOrNil(in.Schema),
		Title: textOrNil(in.Title), Actions: in.Actions, Requires: tags(in.Requires), CreatedAt: in.CreatedAt}
	if len(in.Initial) > 0 {
		doc.Initial = rawJSON(in.Initial)
	}
	for i := range in.Placeholders {
		p := &in.Placeholders[i]
		doc.Placeholders[p.Name] = newValueDoc(v, &p.Value)
	}
	if r := in.Response; r != nil {
		doc.Response = &responseDoc{Type: r.Type.String(), CreatedAt: r.CreatedAt}
	}
	return doc
}

func newInputStatus(in *state.Input) inputStatus {
	out := inputStatus{Title: textOrNil(in.Title)}
	if in.Response != nil {
		out.Status = textOrNil(in.Response.Type.String())
	}
	return out
}

// inputsOf are the inputs that an execution submitted, those that were there already included.
func inputsOf(v *state.View, e state.ExecutionID) map[string]inputStatus {
	doc := map[string]inputStatus{}
	for in := range v.InputsOf(e) {
		doc[in.ID().String()] = newInputStatus(in)
	}
	for h := range v.Hits(e) {
		if id, ok := state.ParseInputID(h.Input); ok {
			if in := v.Input(id); in != nil {
				doc[h.Input] = newInputStatus(in)
			}
		}
	}
	return doc
}

// inputIn gives an input of the project, not_found for any other.
func inputIn(v *state.View, project, id string) (*state.Input, error) {
	if parsed, ok := state.ParseInputID(id); ok {
		if in := v.Input(parsed); in != nil && v.Project(in.Workspace) == project {
			return in, nil
		}
	}
	return nil, notFound("input", id)
}

// besideInput gives the view with the run of an input beside, if that is packed.
func (s *Server) besideInput(ctx context.Context, v *state.View, id string) (*state.View, error) {
	parsed, ok := state.ParseInputID(id)
	if !ok {
		return v, nil
	}
	return s.Backend.Beside(ctx, v, parsed.Run)
}

// findInput is inputIn for a request that changes something: the local replica will do if it has the input, as all but its
// response never changes.
func (s *Server) findInput(r *http.Request, id string) (*state.Input, error) {
	project, err := s.project(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	for _, stale := range []bool{true, false} {
		reading, err := s.Backend.Read(ctx, stale)
		if err != nil {
			return nil, err
		}
		view, err := s.besideInput(ctx, reading.View, id)
		if err != nil {
			return nil, err
		}
		in, err := inputIn(view, project, id)
		if err == nil || !stale {
			return in, err
		}
	}
	return nil, notFound("input", id)
}

// respondInput answers an input with any JSON that its schema takes.
func (s *Server) respondInput(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.RespondInput{Input: b.required("inputId", plainText, maxName), RequestID: b.requestID()}
	if err := b.err(); err != nil {
		return err
	}
	in, err := s.findInput(r, q.Input)
	if err != nil {
		return err
	}
	if in.Response == nil { // otherwise there is nothing to be checked: it is refused, or a repeat
		text := b.fields["value"]
		if text == nil {
			text = json.RawMessage("null")
		}
		if err := checkAnswer(in, text); err != nil {
			return err
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			return err
		}
		if q.Value, err = s.Backend.StoreValue(r.Context(), compact.Bytes()); err != nil {
			return err
		}
	}
	return s.endInput(w, r, q, &q.RequestID)
}

// checkAnswer refuses what does not fit the schema of an input.
func checkAnswer(in *state.Input, text []byte) error {
	if in.Schema == "" {
		return nil
	}
	err := schema.Validate(in.Schema, text)
	if err == nil {
		return nil
	}
	refusal := &Error{Code: CodeValidationFailed, Message: err.Error(), Details: err.Error(), Hint: "the schema is part of what the input shows"}
	var v *schema.Violation
	if errors.As(err, &v) {
		refusal.Details = v.Reason
	}
	return refusal
}

// dismissInput ends an input without an answer.
func (s *Server) dismissInput(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	q := &scheduler.DismissInput{Input: b.required("inputId", plainText, maxName), RequestID: b.requestID()}
	if err := b.err(); err != nil {
		return err
	}
	if _, err := s.findInput(r, q.Input); err != nil {
		return err
	}
	return s.endInput(w, r, q, &q.RequestID)
}

func (s *Server) endInput(w http.ResponseWriter, r *http.Request, q scheduler.Request, id *string) error {
	if _, err := s.doOnce(w, r, q, id); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct{}{})
	return nil
}
