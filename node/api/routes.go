package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/scheduler"
)

// permission is what a caller must be allowed to do. It is declared on every route; as long as there are no tokens
// everybody who reaches the port may do everything but what needs the super token.
type permission string

const (
	permOpen   permission = "open" // needs no token ever
	permRead   permission = "read"
	permSubmit permission = "submit"
	permWorker permission = "worker" // run what others submit
	permAdmin  permission = "admin"
	permSuper  permission = "super" // enforced: needs the super token
)

// handler answers one request or says why not.
type handler func(*Server, http.ResponseWriter, *http.Request) error

// route is one row of the table of routes.
type route struct {
	method, path string
	needs        permission
	handle       handler
	doc          string
}

// routes is the table of contents: all that can be asked over HTTP.
var routes = []route{
	{"GET", "/healthz", permOpen, (*Server).healthz, "200 while the process lives"},
	{"GET", "/readyz", permOpen, (*Server).readyz, "200 once a leader is known and the replica has caught up"},
	{"GET", "/api/discover", permRead, (*Server).discover, "versions and what the caller may see"},
	{"GET", "/api/nodes", permRead, (*Server).nodes, "the mesh as this node sees it"},
	{"GET", "/api/trace", permRead, (*Server).trace, "when an execution reached its stages on this node"},
	{"POST", "/api/submit_workflow", permSubmit, (*Server).submitWorkflow, "start a run"},
	{"POST", "/api/cancel_execution", permSubmit, (*Server).cancelExecution, "cancel an execution and all below it"},
	{"POST", "/api/rerun_step", permSubmit, (*Server).rerunStep, "run a step once more"},
	{"GET", "/api/worker", permWorker, (*Server).worker, "attach an agent-only process: a WebSocket"},
	{"POST", "/api/hold_blobs", permWorker, (*Server).holdBlobs, "keep blobs for an hour, until a row refers to them"},
	{"POST", "/api/worker_died", permWorker, (*Server).workerDied, "state that nothing of a worker's session is alive"},
	{"POST", "/api/create_workspace", permAdmin, (*Server).createWorkspace, "make a workspace"},
	{"POST", "/api/update_workspace", permAdmin, (*Server).updateWorkspace, "rename a workspace, or change its base"},
	{"POST", "/api/pause_workspace", permAdmin, (*Server).pauseWorkspace, "start nothing new in a workspace"},
	{"POST", "/api/resume_workspace", permAdmin, (*Server).resumeWorkspace, "end a pause"},
	{"POST", "/api/archive_workspace", permAdmin, (*Server).archiveWorkspace, "end a workspace for ever"},
	{"POST", "/api/register_manifests", permSubmit, (*Server).registerManifests, "make known which workflows modules have"},
	{"POST", "/api/archive_module", permSubmit, (*Server).archiveModule, "forget the workflows of a module"},
	{"POST", "/api/rotate_epoch", permSuper, (*Server).rotate, "nothing is to be rotated: 204 for the super token"},
	{"POST", "/api/rotate_logs", permSuper, (*Server).rotate, "likewise"},
	{"POST", "/api/get_input", permRead, (*Server).getInput, "an input: what is asked, and how it ended"},
	{"POST", "/api/respond_input", permSubmit, (*Server).respondInput, "answer an input"},
	{"POST", "/api/dismiss_input", permSubmit, (*Server).dismissInput, "end an input without an answer"},
	{"GET", "/api/search", permRead, (*Server).search, "modules and targets by the beginnings of their names"},
	{"GET", "/api/history", permRead, (*Server).history, "what is packed of finished runs, and how long it is kept"},
	{"POST", "/api/set_history", permAdmin, (*Server).setHistory, "how long finished runs stay in memory, and what is kept of them"},
	{"GET", "/api/backup", permAdmin, (*Server).backup, "the whole state and the blobs that it names, as one file"},
	{"GET", "/api/runs", permRead, (*Server).listRuns, "runs of a workspace, newest first"},
	{"GET", "/api/await_run", permRead, (*Server).awaitRun, "wait for a run's outcome"},
	{"GET", "/topics/workspaces", permRead, (*Server).workspaces, "workspaces by id"},
	{"GET", "/topics/workspaces/{workspace}/manifests", permRead, (*Server).manifests, "workflows that are registered"},
	{"GET", "/topics/workspaces/{workspace}/modules", permRead, (*Server).modules, "registered workflows and their active runs"},
	{"GET", "/topics/workspaces/{workspace}/workflows/{module}/{target}", permRead, (*Server).workflow, "a workflow and its runs"},
	{"GET", "/topics/workspaces/{workspace}/runs/{run}", permRead, (*Server).run, "a run, live with Accept: text/event-stream"},
	{"GET", "/topics/workspaces/{workspace}/queue", permRead, (*Server).queue, "executions without result"},
	{"GET", "/topics/workspaces/{workspace}/inputs", permRead, (*Server).inputs, "open inputs that somebody waits for"},
	{"GET", "/topics/inputs/{input}", permRead, (*Server).input, "an input, and whether somebody waits for it"},
	{"GET", "/topics/asset/{asset}", permRead, (*Server).asset, "the files of an asset"},
	{"GET", "/topics/workspaces/{workspace}/sessions", permRead, (*Server).sessions, "agents that run things"},
	{"GET", "/blobs/{key...}", permRead, (*Server).getBlob, "the bytes of a blob"},
	{"HEAD", "/blobs/{key...}", permRead, (*Server).headBlob, "whether a blob exists"},
	{"PUT", "/blobs/{key...}", permSubmit, (*Server).putBlob, "store a blob under its key"},
	{"GET", "/logs", permRead, (*Server).logs, "log lines of a run, live with Accept: text/event-stream"},
	{"POST", "/logs", permWorker, (*Server).postLogs, "keep log lines of a worker"},
	{"GET", "/metrics", permRead, (*Server).metrics, "points that executions recorded, live with Accept: text/event-stream"},
	{"POST", "/metrics", permWorker, (*Server).postMetrics, "keep points of a worker"},
	{"GET", "/debug/pprof/{name...}", permAdmin, (*Server).profile, "Go's profiles of this node, with --pprof"},
}

// mux builds one entry per path, so that a wrong method is told from a wrong path.
func (s *Server) mux() http.Handler {
	byPath := map[string]map[string]handler{}
	for _, r := range routes {
		if byPath[r.path] == nil {
			byPath[r.path] = map[string]handler{}
		}
		byPath[r.path][r.method] = r.handle
	}
	mux := http.NewServeMux()
	for path, methods := range byPath {
		mux.Handle(path, s.serve(dispatch(methods)))
	}
	for _, prefix := range []string{"/api/", "/topics/", "/debug/"} {
		mux.Handle(prefix, s.serve(unknownPath))
	}
	if s.Page != nil {
		mux.Handle("/", s.Page)
	} else {
		mux.Handle("/", s.serve(unknownPath))
	}
	return mux
}

func unknownPath(_ *Server, _ http.ResponseWriter, r *http.Request) error {
	return notFound("path", r.URL.Path)
}

func dispatch(methods map[string]handler) handler {
	var names []string
	for m := range methods {
		names = append(names, m)
	}
	if methods["GET"] != nil && methods["HEAD"] == nil {
		names = append(names, "HEAD")
	}
	slices.Sort(names)
	allow := strings.Join(names, ", ")
	return func(s *Server, w http.ResponseWriter, r *http.Request) error {
		h := methods[r.Method]
		if h == nil && r.Method == http.MethodHead {
			h = methods[http.MethodGet]
		}
		if h == nil {
			w.Header().Set("Allow", allow)
			return &Error{Code: CodeMethod, Message: "this path does not answer " + quoted(r.Method), Hint: "it answers " + allow}
		}
		return h(s, w, r)
	}
}

// serve makes an http.Handler of a handler: its error is the reply.
func (s *Server) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(s, w, r); err != nil {
			s.refuse(w, r, err)
		}
	})
}

// refuse answers with an error. What is internal goes to the log, as the client is not told.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	if e.Code == scheduler.CodeInternal && r.Context().Err() == nil {
		s.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	status := statuses[e.Code]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	if e.Code == CodeOverloaded || e.Code == CodeUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, status, e)
}
