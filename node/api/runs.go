package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// runsPage is the document of /api/runs.
type runsPage struct {
	Runs   []runSummary `json:"runs"`
	Cursor *string      `json:"cursor"`
}

type runSummary struct {
	RunID       string `json:"runId"`
	Module      string `json:"module"`
	Target      string `json:"target"`
	CreatedAt   int64  `json:"createdAt"`
	CompletedAt *int64 `json:"completedAt"`
	Status      string `json:"status"`
	Steps       int    `json:"steps"`
}

// maxRuns is the largest page of runs.
const maxRuns = 500

func (s *Server) listRuns(w http.ResponseWriter, r *http.Request) error {
	workspace, err := query(r, "workspaceId")
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", 50, 1, maxRuns)
	if err != nil {
		return err
	}
	before, beforeID, err := parseRunsCursor(r.URL.Query().Get("before"))
	if err != nil {
		return err
	}
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newRunsPage(reading.View, workspace, int(limit), before, beforeID))
	return nil
}

// newRunsPage lists the runs created before (before, beforeID), newest first.
func newRunsPage(v *state.View, workspace string, limit int, before int64, beforeID string) runsPage {
	page := runsPage{Runs: []runSummary{}}
	var last *state.Run
	for run := range v.RunsByWorkspace(workspace, before, beforeID) {
		if len(page.Runs) == limit {
			cursor := strconv.FormatInt(last.CreatedAt, 10) + "." + last.ID
			page.Cursor = &cursor
			break
		}
		root := seenRun{run, workspace}.root(v)
		summary := runSummary{RunID: run.ID, Module: run.Module, Target: run.Target, CreatedAt: run.CreatedAt,
			Steps: run.Steps}
		if root != nil {
			root = scheduler.Last(v, root.ID()) // what it has become
		}
		if summary.Status = runStatus(root); root != nil {
			summary.CompletedAt = timeOrNil(root.CompletedAt)
		}
		page.Runs = append(page.Runs, summary)
		last = run
	}
	return page
}

// parseRunsCursor reads the cursor of a page, empty for the first one.
func parseRunsCursor(cursor string) (before int64, id string, err error) {
	if cursor == "" {
		return 0, "", nil
	}
	at, id, found := strings.Cut(cursor, ".")
	before, perr := strconv.ParseInt(at, 10, 64)
	if !found || perr != nil || before <= 0 || !plainText.MatchString(id) {
		return 0, "", invalid("before", "invalid", "the cursor was not made by this interface: leave it out to begin at the newest run")
	}
	return before, id, nil
}

// runStatus is the state of a run, told by the latest attempt of its root.
func runStatus(root *state.Execution) string {
	switch {
	case root == nil || root.Result == nil && root.Session == "":
		return "queued"
	case root.Result == nil:
		return "running"
	}
	switch root.Result.Type {
	case state.ResultValue:
		return "completed"
	case state.ResultCancelled:
		return "cancelled"
	case state.ResultAbandoned:
		return "abandoned"
	default:
		return "failed"
	}
}

// run answers with the run document, or streams it.
func (s *Server) run(w http.ResponseWriter, r *http.Request) error {
	if wantsStream(r) {
		return s.streamRun(w, r)
	}
	workspace, id := r.PathValue("workspace"), r.PathValue("run")
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	doc := newRunDoc(reading.View, workspace, id)
	if doc == nil {
		return notFound("run", id)
	}
	writeJSON(w, http.StatusOK, doc)
	return nil
}

// awaited is the document of /api/await_run.
type awaited struct {
	Done   bool   `json:"done"`
	Index  uint64 `json:"index"`
	Result any    `json:"result"`
}

const (
	// maxAwait is the longest that await_run waits.
	maxAwait = 5 * 60 * 1000
	// relook is how often a waiter looks without having been told, as the watch of a view ends unnoticed when the replica
	// is restored from a snapshot.
	relook = 5 * time.Second
)

// awaitRun answers when the root of a run has its outcome, or when the time is up.
func (s *Server) awaitRun(w http.ResponseWriter, r *http.Request) error {
	workspace, err := query(r, "workspaceId")
	if err != nil {
		return err
	}
	id, err := query(r, "runId")
	if err != nil {
		return err
	}
	timeout, err := number(r, "timeoutMs", 30_000, 0, maxAwait)
	if err != nil {
		return err
	}
	reading, err := s.readWorkspace(w, r, workspace)
	if err != nil {
		return err
	}
	ctx, done, ok := s.lasting(r)
	if !ok {
		return &Error{Code: CodeUnavailable, Message: "this node is stopping", Hint: "ask another node"}
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(timeout)*time.Millisecond)
	defer cancel()
	doc, err := s.await(ctx, reading.View, workspace, id)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replyTime))
	w.Header().Set("Coflux-Index", strconv.FormatUint(doc.Index, 10))
	writeJSON(w, http.StatusOK, doc)
	return nil
}

// await watches the root of a run until it has its outcome or ctx ends.
func (s *Server) await(ctx context.Context, v *state.View, workspace, id string) (awaited, error) {
	for {
		v = v.Watching()
		run, ok := seeRun(v, workspace, id)
		if !ok {
			return awaited{}, notFound("run", id)
		}
		if root := run.root(v); root != nil {
			if result := scheduler.Outcome(v, root.ID()); result != nil {
				return awaited{true, v.Index(), newResultDoc(v, result)}, nil
			}
		}
		wait, cancel := context.WithTimeout(ctx, relook)
		_ = v.Changed().WatchCtx(wait) // looked at again in any case
		cancel()
		if ctx.Err() != nil {
			return awaited{Index: v.Index()}, nil
		}
		reading, err := s.Backend.Read(ctx, true)
		if err != nil {
			return awaited{}, err
		}
		v = reading.View
	}
}
