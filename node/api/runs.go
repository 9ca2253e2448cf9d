package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
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
	packed, err := s.Backend.PackedRuns(r.Context(), reading.View, PackedQuery{Workspace: workspace, Before: before, BeforeID: beforeID, Limit: int(limit) + 1})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, newRunsPage(reading.View, workspace, int(limit), before, beforeID, packed))
	return nil
}

// newRunsPage lists the runs created before (before, beforeID), newest first, together with the packed ones.
func newRunsPage(v *state.View, workspace string, limit int, before int64, beforeID string, packed []PackedRun) runsPage {
	page := runsPage{Runs: []runSummary{}}
	for _, p := range packed {
		page.Runs = append(page.Runs, p.summary())
	}
	live := 0
	for run := range v.RunsByWorkspace(workspace, before, beforeID) {
		if live++; live > limit+1 {
			break
		}
		page.Runs = append(page.Runs, newRunSummary(v, run))
	}
	slices.SortFunc(page.Runs, func(a, b runSummary) int {
		return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), cmp.Compare(b.RunID, a.RunID))
	})
	if len(page.Runs) > limit {
		page.Runs = page.Runs[:limit]
		last := page.Runs[limit-1]
		cursor := strconv.FormatInt(last.CreatedAt, 10) + "." + last.RunID
		page.Cursor = &cursor
	}
	return page
}

func newRunSummary(v *state.View, run *state.Run) runSummary {
	summary := runSummary{RunID: run.ID, Module: run.Module, Target: run.Target, CreatedAt: run.CreatedAt, Steps: run.Steps}
	root := seenRun{run, run.Workspace}.root(v)
	if root != nil {
		root = scheduler.Last(v, root.ID()) // what it has become
	}
	if summary.Status = runStatus(root); root != nil {
		summary.CompletedAt = timeOrNil(root.CompletedAt)
	}
	return summary
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
	return statusOf(root.Result.Type.String())
}

// statusOf is the state of a run that has ended in a type of result.
func statusOf(outcome string) string {
	switch outcome {
	case state.ResultValue.String():
		return "completed"
	case state.ResultCancelled.String():
		return "cancelled"
	case state.ResultAbandoned.String():
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
	view, err := s.Backend.Beside(r.Context(), reading.View, id)
	if err != nil {
		return err
	}
	doc := newRunDoc(view, workspace, id)
	if doc == nil {
		return noRun(view, workspace, id)
	}
	s.define(r.Context(), id, doc.Steps)
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
		var err error
		if v, err = s.Backend.Beside(ctx, v, id); err != nil {
			return awaited{}, err
		}
		run, ok := seeRun(v, workspace, id)
		if !ok {
			return awaited{}, noRun(v, workspace, id)
		}
		if root := run.root(v); root != nil {
			if result := scheduler.Outcome(v, root.ID()); result != nil {
				return awaited{true, v.Index(), newResultDoc(v, result)}, nil
			}
		}
		wait, cancel := context.WithTimeout(ctx, relook)
		_ = v.Changed().Wait(wait) // looked at again in any case
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
