package checker

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Event is one line of a history; which fields are set depends on Type (see the package comment).
type Event struct {
	Type  string `json:"type"`
	Event string `json:"event,omitempty"`
	At    int64  `json:"at,omitempty"`

	ID     int64  `json:"id,omitempty"`
	Client string `json:"client,omitempty"`
	Op     string `json:"op,omitempty"`
	Phase  string `json:"phase,omitempty"`
	Key    string `json:"key,omitempty"`
	Token  string `json:"token,omitempty"`
	Error  string `json:"error,omitempty"`
	Stale  bool   `json:"stale,omitempty"`

	Run       string `json:"run,omitempty"`
	Step      string `json:"step,omitempty"`
	Execution string `json:"execution,omitempty"`
	Parent    string `json:"parent,omitempty"`
	Child     string `json:"child,omitempty"`
	Status    string `json:"status,omitempty"`
	Value     string `json:"value,omitempty"`
	Retries   int    `json:"retries,omitempty"`
	Backoff   int64  `json:"backoff,omitempty"`
	Retry     int    `json:"retry,omitempty"`
	Link      string `json:"link,omitempty"`
	Call      string `json:"call,omitempty"`

	Node    string `json:"node,omitempty"`
	Boot    string `json:"boot,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Session string `json:"session,omitempty"`
	Index   uint64 `json:"index,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

// The types of events.
const (
	TypeOp      = "op"
	TypeEffect  = "effect"
	TypeFinal   = "final"
	TypeCommit  = "commit"
	TypeDigest  = "digest"
	TypeNemesis = "nemesis"
)

// Operation is a client's operation from its begin to its end.
type Operation struct {
	Event       // as at the end; phase is ok, fail or info
	Begin int64 // when it was invoked; Event.At is when it ended
}

// History is all that was recorded.
type History struct {
	Ops     []Operation
	Effects []Event
	Finals  []Event
	Commits []Event // by index
	Digests []Event
}

// never is the end of an operation of which nobody knows when it happened, if at all.
const never = int64(1) << 62

// Load reads the files, and all *.jsonl files below the directories.
func Load(paths ...string) (*History, error) {
	var events []Event
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || file != path && !strings.HasSuffix(file, ".jsonl") {
				return err
			}
			f, err := os.Open(file)
			if err != nil {
				return err
			}
			defer f.Close()
			more, err := Read(f)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			events = append(events, more...)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
	}
	if len(events) == 0 {
		return nil, errors.New("read history: there is not a single event, so nothing can be decided")
	}
	return New(events)
}

// Read reads JSON lines.
func Read(r io.Reader) ([]Event, error) {
	var events []Event
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for n := 1; lines.Scan(); n++ {
		if len(strings.TrimSpace(lines.Text())) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("line %d is not an event: %w", n, err)
		}
		events = append(events, e)
	}
	return events, lines.Err()
}

// New sorts events into a history.
func New(events []Event) (*History, error) {
	h := &History{}
	begun := map[int64]Event{}
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	for _, e := range events {
		switch e.Type {
		case TypeOp:
			if err := h.op(begun, e); err != nil {
				return nil, err
			}
		case TypeEffect:
			h.Effects = append(h.Effects, e)
		case TypeFinal:
			h.Finals = append(h.Finals, e)
		case TypeCommit:
			h.Commits = append(h.Commits, e)
		case TypeDigest:
			h.Digests = append(h.Digests, e)
		case TypeNemesis:
		default:
			return nil, fmt.Errorf("an event of unknown type %q", e.Type)
		}
	}
	for _, e := range begun { // never answered
		e.Phase, e.At = "info", never
		h.Ops = append(h.Ops, Operation{Event: e, Begin: begun[e.ID].At})
	}
	slices.SortFunc(h.Ops, func(a, b Operation) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(h.Commits, func(a, b Event) int { return cmp.Compare(a.Index, b.Index) })
	return h, nil
}

func (h *History) op(begun map[int64]Event, e Event) error {
	b, known := begun[e.ID]
	switch {
	case e.Phase == "invoke" && known:
		return fmt.Errorf("operation %d is invoked twice", e.ID)
	case e.Phase == "invoke":
		begun[e.ID] = e
		return nil
	case !known:
		return fmt.Errorf("operation %d ends (%s) and was not invoked before", e.ID, e.Phase)
	case e.Phase != "ok" && e.Phase != "fail" && e.Phase != "info":
		return fmt.Errorf("operation %d has the unknown phase %q", e.ID, e.Phase)
	}
	delete(begun, e.ID)
	if e.Phase == "info" {
		e.At = never
	}
	h.Ops = append(h.Ops, Operation{Event: e, Begin: b.At})
	return nil
}

// stepOf cuts the attempt off an execution's id.
func stepOf(execution string) string {
	i := strings.LastIndexByte(execution, ':')
	return execution[:max(i, 0)]
}

// runOf cuts the run out of a step's or an execution's id.
func runOf(id string) string {
	run, _, _ := strings.Cut(id, ":")
	return run
}

// followed gives the execution at which whoever waits for one arrives: failures name the attempt after them, links the
// execution whose outcome they have. Of links in a ring it gives some member.
func (h *History) followed() func(execution string) string {
	next := map[string]string{}
	for _, e := range h.Finals {
		switch {
		case e.Link != "":
			next[e.Execution] = e.Link
		case e.Retry > attemptOf(e.Execution):
			next[e.Execution] = stepOf(e.Execution) + ":" + strconv.Itoa(e.Retry)
		}
	}
	return func(execution string) string {
		for range len(next) {
			if next[execution] == "" {
				break
			}
			execution = next[execution]
		}
		return execution
	}
}

// attemptOf is the number at the end of an execution's id.
func attemptOf(execution string) int {
	n := 0
	for _, c := range execution[strings.LastIndexByte(execution, ':')+1:] {
		n = 10*n + int(c-'0')
	}
	return n
}
