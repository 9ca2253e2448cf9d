package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Value is one named value of an entry: raw (Data) or a blob (Key, Size).
type Value struct {
	Type       string          `json:"type"`
	Data       json.RawMessage `json:"data,omitempty"`
	Key        string          `json:"key,omitempty"`
	Size       int64           `json:"size,omitempty"`
	References json.RawMessage `json:"references,omitempty"`
}

// Entry is one line of a run's log.
type Entry struct {
	RunID       string           `json:"runId,omitempty"`
	ExecutionID string           `json:"executionId"`
	WorkspaceID string           `json:"workspaceId"`
	Timestamp   int64            `json:"timestamp"`        // ms
	Origin      string           `json:"origin,omitempty"` // with Seq: its identity (Numbering)
	Seq         uint64           `json:"seq,omitempty"`
	Level       int              `json:"level"`
	Template    *string          `json:"template"`
	Values      map[string]Value `json:"values,omitempty"`
	Metric      *Metric          `json:"metric,omitempty"` // instead of a text
}

// Metric is a point of a series, or, with a Definition, how the series is drawn. At is its place on the x axis.
type Metric struct {
	Key        string          `json:"key"`
	Value      float64         `json:"value"`
	At         float64         `json:"at"`
	Definition json.RawMessage `json:"definition,omitempty"`
}

// levelWarning is the level of what the journal itself has to say.
const levelWarning = 4

// maxEntry is the largest encoded entry; longer ones lose their values, then
// the end of their text. maxText leaves room for what escaping may add.
const (
	maxEntry = 1 << 20
	maxText  = 128 << 10
)

var errNoRun = errors.New("a log entry names no run: set RunID")

// item is an entry on its way to the disk.
type item struct {
	run, execution, workspace string
	enc                       []byte   // without the run id, which its record carries
	blobs                     []string // keys that it refers to
}

func encodeEntry(e Entry) (item, error) {
	it := item{run: e.RunID, execution: e.ExecutionID, workspace: e.WorkspaceID}
	if e.RunID == "" {
		return item{}, errNoRun
	}
	if len(e.RunID)+len(e.ExecutionID)+len(e.WorkspaceID) > maxText {
		return item{}, errors.New("the ids of a log entry are too long")
	}
	e.RunID = ""
	b, err := json.Marshal(e)
	if err != nil {
		return item{}, fmt.Errorf("cannot encode a log entry of execution %s: %w", e.ExecutionID, err)
	}
	if len(b) > maxEntry {
		if b, err = json.Marshal(Shorten(e, len(b))); err != nil {
			return item{}, fmt.Errorf("cannot encode a log entry of execution %s: %w", e.ExecutionID, err)
		}
		e.Values = nil
	}
	it.enc, it.blobs = b, blobsOf(e.Values)
	return it, nil
}

// Shorten cuts an entry whose encoding has size bytes: its values go, and the end of a long text. What is left takes less
// than 1 MiB, whatever has to be escaped.
func Shorten(e Entry, size int) Entry {
	text := ""
	if e.Template != nil {
		text = *e.Template
	}
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	text += fmt.Sprintf(" [cut: the entry had %d bytes]", size)
	e.Template, e.Values = &text, nil
	return e
}

// gapEntry says how many entries of an execution are missing here.
func gapEntry(k gapKey, count int, now int64) Entry {
	text := "{count} log lines were dropped here: the journal could not write for too long"
	return Entry{
		RunID: k.run, ExecutionID: k.execution, WorkspaceID: k.workspace,
		Timestamp: now, Level: levelWarning, Template: &text,
		Values: map[string]Value{"count": {Type: "raw", Data: json.RawMessage(fmt.Sprint(count)), References: json.RawMessage("[]")}},
	}
}
