package api

import (
	"bytes"
	"encoding/json"
)

// Workflow is the definition of a workflow, as its module declares it.
type Workflow struct {
	Parameters  []Parameter
	WaitFor     []int
	Cache       *Cache
	Defer       *Defer
	Delay       int64 // ms
	Retries     *Retries
	Recurrent   bool
	Timeout     int64 // ms, 0 = none
	Requires    map[string][]string
	Memo        bool
	Durable     bool
	Instruction string
	Limits      *Limits
}

// Limits bound what each process of an execution may use; 0 = no bound. Clients that know none do not see them.
type Limits struct {
	Memory int64 `json:"memory,omitempty"` // bytes
	CPU    int64 `json:"cpu,omitempty"`    // seconds of processor time
	Files  int64 `json:"files,omitempty"`  // open files
}

// Parameter of a workflow; Default is JSON text.
type Parameter struct {
	Name       string  `json:"name"`
	Default    *string `json:"default"`
	Annotation *string `json:"annotation"`
}

// Cache configuration; Params is true or a list of indexes.
type Cache struct {
	Params    json.RawMessage `json:"params"`
	MaxAge    *int64          `json:"maxAge"` // ms
	Namespace *string         `json:"namespace"`
	Version   *string         `json:"version"`
}

// Defer configuration; Params is true or a list of indexes.
type Defer struct {
	Params json.RawMessage `json:"params"`
}

// Retries configuration; no Limit = unlimited.
type Retries struct {
	Limit      *int  `json:"limit"`
	BackoffMin int64 `json:"backoffMin"` // ms
	BackoffMax int64 `json:"backoffMax"` // ms
}

// definition is the form in which a workflow's definition is kept and shown.
type definition struct {
	Parameters  []Parameter         `json:"parameters"`
	WaitFor     []int               `json:"waitFor"`
	Cache       *Cache              `json:"cache"`
	Defer       *Defer              `json:"defer"`
	Delay       int64               `json:"delay"`
	Retries     *Retries            `json:"retries"`
	Requires    map[string][]string `json:"requires"`
	Recurrent   bool                `json:"recurrent"`
	Timeout     int64               `json:"timeout"`
	Memo        bool                `json:"memo"`
	Durable     bool                `json:"durable,omitempty"`
	Instruction *string             `json:"instruction"`
	Limits      *Limits             `json:"limits,omitempty"`
}

// Definition is the workflow as it is registered: equal workflows give equal bytes.
func (f Workflow) Definition() ([]byte, error) {
	text, err := encodeJSON(definition{
		Parameters: orEmpty(f.Parameters), WaitFor: orEmpty(f.WaitFor), Cache: f.Cache, Defer: f.Defer, Delay: f.Delay,
		Retries: f.Retries, Requires: tags(f.Requires), Recurrent: f.Recurrent, Timeout: f.Timeout, Memo: f.Memo, Durable: f.Durable,
		Instruction: textOrNil(f.Instruction), Limits: f.Limits,
	})
	return bytes.TrimSpace(text), err
}
