package pyexec

import (
	"encoding/json"
	"errors"
	"fmt"
)

// message is any line from an executor.
type message struct {
	ID     *int64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// frame is what is known about a method: request says that it is answered, code is the code of its refusals.
type frame struct {
	request bool
	code    string
	handle  func(b *body, id int64, params json.RawMessage) error
}

// frames is the table of everything an executor may say while it runs a job. A handler's error refuses a request; for a
// notification it is logged.
var frames = map[string]frame{
	"execution_result": {handle: onResult},
	"execution_error":  {handle: onError},
	"log":              {handle: onLog},
	"register_group":   {handle: onGroup},
	"submit_execution": {request: true, code: "submit_error", handle: onSubmit},
	"select":           {request: true, code: "select_error", handle: onSelect},
	"cancel":           {request: true, code: "cancel_error", handle: onCancel},
	"submit_input":     {request: true, code: "input_error", handle: onInput},
	"suspend":          {request: true, code: "suspend_error", handle: onSuspend},
	"persist_asset":    {request: true, code: "persist_error", handle: onPersistAsset},
	"get_asset":        {request: true, code: "get_asset_error", handle: onGetAsset},
	"upload_blob":      {request: true, code: "upload_error", handle: onUploadBlob},
	"download_blob":    {request: true, code: "download_error", handle: onDownloadBlob},
	"define_metric":    {handle: onDefineMetric},
	"metric":           {handle: onMetric},
}

// parse decodes params; its error is a parse_error whatever the method.
func parse(params json.RawMessage, into any) error {
	if err := json.Unmarshal(params, into); err != nil {
		return &RequestError{Code: "parse_error", Message: err.Error()}
	}
	return nil
}

func onResult(b *body, _ int64, params json.RawMessage) error {
	var p struct {
		Result *Value `json:"result"`
	}
	if err := parse(params, &p); err != nil {
		b.deliver(Result{Error: internal(fmt.Sprintf("the result could not be read: %v", err))})
		return nil
	}
	b.deliver(Result{Value: p.Result, Release: b.exec.hold(p.Result)})
	return nil
}

func onError(b *body, _ int64, params json.RawMessage) error {
	var p struct {
		Error struct {
			Type      string `json:"type"`
			Message   string `json:"message"`
			Traceback string `json:"traceback"`
			Retryable *bool  `json:"retryable"`
		} `json:"error"`
	}
	if err := parse(params, &p); err != nil {
		b.deliver(Result{Error: internal(fmt.Sprintf("the error could not be read: %v", err))})
		return nil
	}
	e := p.Error
	failure := &Error{Type: e.Type, Message: e.Message, Frames: parseTraceback(e.Traceback), Retryable: e.Retryable}
	b.limits.memoryError(failure)
	b.deliver(Result{Error: failure})
	return nil
}

func onLog(b *body, _ int64, params json.RawMessage) error {
	var p struct {
		Level    int              `json:"level"`
		Template *string          `json:"template"`
		Values   map[string]Value `json:"values"`
	}
	if err := parse(params, &p); err != nil {
		return err
	}
	b.call(func(h Host) { h.Log(p.Level, p.Template, p.Values) })
	for _, v := range p.Values {
		b.exec.dropFiles(v)
	}
	return nil
}

func onGroup(b *body, _ int64, params json.RawMessage) error {
	var p struct {
		ID   int     `json:"group_id"`
		Name *string `json:"name"`
	}
	if err := parse(params, &p); err != nil {
		return err
	}
	name := ""
	if p.Name != nil {
		name = *p.Name
	}
	b.call(func(h Host) { h.Group(p.ID, name) })
	return nil
}

func onSubmit(b *body, id int64, params json.RawMessage) error {
	req := SubmitRequest{Type: "task"}
	if err := parse(params, &req); err != nil {
		return err
	}
	req.Number = id
	slot := b.exec.replies.ordered(id, "submit_error")
	b.call(func(h Host) {
		h.Submit(req, func(r SubmitReply, err error) {
			slot.answer(r, err)
			for _, v := range req.Arguments {
				b.exec.dropFiles(v)
			}
		})
	})
	return nil
}

func onSelect(b *body, id int64, params json.RawMessage) error {
	var req SelectRequest
	if err := parse(params, &req); err != nil {
		return err
	}
	if len(req.Handles) == 0 {
		return errors.New("select requires at least one handle")
	}
	req.Number = id
	slot := b.exec.replies.free(id, "select_error")
	b.call(func(h Host) {
		h.Select(req, func(o *Outcome, err error) {
			if o == nil || err != nil {
				slot.answer(nil, err)
				return
			}
			slot.answer(wireOutcome(o), nil)
		})
	})
	return nil
}

func onCancel(b *body, id int64, params json.RawMessage) error {
	var req CancelRequest
	if err := parse(params, &req); err != nil {
		return err
	}
	req.Number = id
	slot := b.exec.replies.ordered(id, "cancel_error")
	b.call(func(h Host) {
		h.Cancel(req, func(err error) { slot.answer(struct{}{}, err) })
	})
	return nil
}

func onInput(b *body, id int64, params json.RawMessage) error {
	var req InputRequest
	if err := parse(params, &req); err != nil {
		return err
	}
	req.Number = id
	slot := b.exec.replies.ordered(id, "input_error")
	b.call(func(h Host) {
		h.Input(req, func(r InputReply, err error) {
			slot.answer(r, err)
			for _, v := range req.Placeholders {
				b.exec.dropFiles(v)
			}
		})
	})
	return nil
}

func onSuspend(b *body, id int64, params json.RawMessage) error {
	var req SuspendRequest
	if err := parse(params, &req); err != nil {
		return err
	}
	slot := b.exec.replies.ordered(id, "suspend_error")
	b.call(func(h Host) {
		h.Suspend(req, func(err error) { slot.answer(struct{}{}, err) })
	})
	return nil
}

// outcomeWire is an Outcome as adapter-protocol 4.2 writes it.
type outcomeWire struct {
	Winner int        `json:"winner"`
	Status string     `json:"status"`
	Value  *Value     `json:"value,omitempty"`
	Error  *errorWire `json:"error,omitempty"`
}

type errorWire struct {
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback,omitempty"`
}

func wireOutcome(o *Outcome) outcomeWire {
	w := outcomeWire{Winner: o.Winner, Status: o.Status, Value: o.Value}
	if o.Status == StatusOK && w.Value == nil {
		v := Inline(nil)
		w.Value = &v
	}
	if o.Error != nil {
		w.Error = &errorWire{Type: o.Error.Type, Message: o.Error.Message, Traceback: formatTraceback(o.Error.Frames)}
	}
	return w
}

func internal(text string) *Error { return &Error{Type: TypeInternal, Message: text} }
