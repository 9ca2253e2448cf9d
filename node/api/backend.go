package api

import (
	"context"
	"io"
	"time"

	"github.com/coder/websocket"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/scheduler"
)

// Backend is what the HTTP room needs of its node. All methods may be called at once from many goroutines and return
// when ctx ends. An error is an *Error, one of ctx, or anything else, which is answered as internal.
type Backend interface {
	// Do has a request decided by whichever node leads. It is tried again, with the same id, until ctx ends. A refusal
	// is in the reply; the error says that nobody could be asked (NoQuorum, Overloaded).
	Do(ctx context.Context, r scheduler.Request) (scheduler.Reply, error)
	// Read gives a view that holds everything answered before the call; with stale the local replica as it is now. The
	// views of one node never go back in time.
	Read(ctx context.Context, stale bool) (Reading, error)
	// Beside gives the view with what the document of a run needs and v does not have because it is packed: the run itself, or
	// others that it names.
	Beside(ctx context.Context, v *state.View, run string) (*state.View, error)
	// PackedRuns lists packed runs, the newest first.
	PackedRuns(ctx context.Context, v *state.View, q PackedQuery) ([]PackedRun, error)
	// Nodes is the mesh as this node sees it.
	Nodes(ctx context.Context) Nodes
	// StoreValue makes a value of a JSON text: a small one as it is, a large one as a blob that is stored on return.
	StoreValue(ctx context.Context, json []byte) (state.Value, error)
	// Logs asks the journals of all nodes.
	Logs(ctx context.Context, q journal.Query) (journal.Page, error)
	// LogsSignal fires when there may be new lines of a run, until the returned function is called.
	LogsSignal(runID string) (<-chan struct{}, func())
	// AppendLogs keeps lines of a worker in the journal, a batch that comes again once; it may hold the caller back.
	AppendLogs(batch string, entries []journal.Entry) error
	// Metrics, MetricsSignal and AppendMetrics do the same for points of metrics.
	Metrics(ctx context.Context, q journal.Query) (journal.Page, error)
	MetricsSignal(runID string) (<-chan struct{}, func())
	AppendMetrics(batch string, entries []journal.Entry) error
	// MetricDefinitions are those of a run, as far as they can be had at once.
	MetricDefinitions(ctx context.Context, runID string) []journal.Entry
	// AttachWorker serves the connection of an agent-only process until it or ctx ends.
	AttachWorker(ctx context.Context, project string, conn *websocket.Conn)
	// BlobOpen, BlobHas and BlobPut give blob's own errors (ErrNotFound, ErrHashMismatch, ...), wrapped or not.
	BlobOpen(ctx context.Context, key string) (io.ReadCloser, int64, error)
	BlobHas(ctx context.Context, key string) (bool, error)
	BlobPut(ctx context.Context, key string, r io.Reader) error
	// BlobHold keeps blobs from being collected for an hour.
	BlobHold(ctx context.Context, keys []string) error
	// Backup writes a backup; an error before the first byte is a refusal.
	Backup(ctx context.Context, w io.Writer, q BackupQuery) error
	// Trace are the stages of an execution that this node remembers.
	Trace(execution string) []TraceEvent
	// Ready tells whether a leader is known and the replica has caught up; if not, why.
	Ready() (ready bool, reason string)
	// Project is meant by requests that name none.
	Project() string
}

// Reading is a view and how old it may be.
type Reading struct {
	View *state.View
	// StaleFor is the time since the node last heard from a leader, 0 on the leader; meant for stale reads only.
	StaleFor time.Duration
}

// Nodes is the document of /api/nodes.
type Nodes struct {
	Leader *string `json:"leader"` // node id
	Quorum bool    `json:"quorum"`
	Term   uint64  `json:"term"`
	Index  uint64  `json:"index"`
	Nodes  []Node  `json:"nodes"`
}

// Node is one member of the mesh.
type Node struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"` // gossip
	HTTP    string `json:"http"`
	Peer    string `json:"peer"`
	Role    string `json:"role"`  // leader | voter | replica | none
	State   string `json:"state"` // alive | suspect | gone
	Version string `json:"version"`
	Slots   *int   `json:"slots"`
	Used    *int   `json:"used"`
	// DiskFull says that the node takes no more values, files and log lines.
	DiskFull bool         `json:"diskFull,omitempty"`
	Modules  []NodeModule `json:"modules"`
	Self     bool         `json:"self"`
	Since    int64        `json:"since"` // ms
}

// NodeModule is one module of a node; with an error it may still serve its last good code.
type NodeModule struct {
	Name    string  `json:"name"`
	Targets int     `json:"targets"`
	Error   *string `json:"error"`
	Serving bool    `json:"serving"`
}

// TraceEvent says when an execution reached a stage on a node.
type TraceEvent struct {
	ExecutionID string `json:"executionId"`
	Stage       string `json:"stage"`
	Node        string `json:"node"`
	At          int64  `json:"at"` // wall clock, ns
}
