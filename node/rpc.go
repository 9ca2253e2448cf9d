package node

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/journal"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-msgpack/v2/codec"
)

// The paths that nodes serve to each other on the peer port. They are not for clients.
const (
	rpcRequest   = "/v1/request"    // POST a request for the leader
	rpcReadIndex = "/v1/read-index" // POST: the leader's read index
	rpcStream    = "/v1/stream"     // WebSocket: an agent's stream to the leader
	rpcManifest  = "/v1/manifest/"  // GET a manifest by hash
	rpcBlob      = "/v1/blob/"      // GET, PUT a blob by key
	rpcMissing   = "/v1/missing"    // POST keys of blobs: which of them the node has not
	rpcHold      = "/v1/hold"       // POST keys of blobs, to be leased: which of them the node has not
	rpcUnleased  = "/v1/unleased"   // GET keys of blobs whose lease is over
	rpcLogged    = "/v1/logged"     // GET keys of blobs that the journal refers to
	rpcCollect   = "/v1/collect"    // POST what the leader has a node remove
	rpcLogs      = "/v1/logs"       // POST a query of this node's journal
	rpcKeep      = "/v1/keep"       // POST log lines for this node's journal
	// Likewise for points and definitions of metrics.
	rpcMetrics     = "/v1/metrics"
	rpcKeepMetrics = "/v1/keep-metrics"
	rpcLoad        = "/v1/load" // GET how busy the node is
	rpcGone        = "/v1/gone" // POST: a guard states that nothing of a session is alive
)

// rpcServer answers other nodes. Authentication by certificate belongs in front of it, where the mux accepts.
type rpcServer struct {
	local    *coordinator
	router   *router
	manifest func(hash string) ([]byte, bool)
	blobs    *blob.Local
	store    string // the first place of blobs beyond the nodes; "" for none
	logs     *logs
	metrics  *logs
	load     func() load
	log      hclog.Logger
}

func (s *rpcServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+rpcRequest, s.request)
	mux.HandleFunc("POST "+rpcReadIndex, s.readIndex)
	mux.HandleFunc("GET "+rpcStream, s.stream)
	mux.HandleFunc("GET "+rpcManifest+"{hash}", s.getManifest)
	mux.HandleFunc("GET "+rpcBlob+"{key}", s.getBlob)
	mux.HandleFunc("PUT "+rpcBlob+"{key}", s.putBlob)
	mux.HandleFunc("POST "+rpcMissing, s.lackedBlobs(s.blobs.Missing))
	mux.HandleFunc("POST "+rpcHold, s.lackedBlobs(s.blobs.Hold))
	mux.HandleFunc("GET "+rpcUnleased, s.listUnleased)
	mux.HandleFunc("GET "+rpcLogged, s.listLogged)
	mux.HandleFunc("POST "+rpcCollect, s.collectBlobs)
	mux.HandleFunc("POST "+rpcLogs, s.getLogs(s.logs))
	mux.HandleFunc("POST "+rpcMetrics, s.getLogs(s.metrics))
	mux.HandleFunc("POST "+rpcKeep, s.keepLogs(s.logs))
	mux.HandleFunc("POST "+rpcKeepMetrics, s.keepLogs(s.metrics))
	mux.HandleFunc("GET "+rpcLoad, s.getLoad)
	mux.HandleFunc("POST "+rpcGone, s.gone)
	return mux
}

func (s *rpcServer) answer(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, errOverloaded):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case err != nil && noQuorum(err):
		http.Error(w, err.Error(), http.StatusMisdirectedRequest)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		var body []byte
		if err := codec.NewEncoderBytes(&body, frameHandle).Encode(v); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(body) // a client that is gone asks again
	}
}

func (s *rpcServer) request(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q, err := scheduler.DecodeRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply, err := s.local.do(r.Context(), q)
	s.answer(w, reply, err)
}

func (s *rpcServer) readIndex(w http.ResponseWriter, r *http.Request) {
	index, err := s.local.readIndex(r.Context())
	s.answer(w, index, err)
}

func (s *rpcServer) stream(w http.ResponseWriter, r *http.Request) {
	if s.local.leader() == nil {
		http.Error(w, errNotLeading.Error(), http.StatusMisdirectedRequest)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	if err := s.local.serveStream(r.Context(), newSocketStream(conn)); err != nil {
		s.log.Debug("stream of an agent ended", "error", err)
	}
}

func (s *rpcServer) getManifest(w http.ResponseWriter, r *http.Request) {
	content, ok := s.manifest(r.PathValue("hash"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(content)
}

func (s *rpcServer) getBlob(w http.ResponseWriter, r *http.Request) {
	body, size, err := s.blobs.Open(r.Context(), r.PathValue("key"))
	if err != nil {
		blobError(w, err)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_, _ = io.Copy(w, body) // a short body is noticed by the other side's hash
}

func (s *rpcServer) putBlob(w http.ResponseWriter, r *http.Request) {
	if err := s.blobs.PutKey(r.Context(), r.PathValue("key"), r.Body); err != nil {
		blobError(w, err)
	}
}

func blobError(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, blob.ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, blob.ErrBadKey), errors.Is(err, blob.ErrHashMismatch):
		code = http.StatusBadRequest
	case errors.Is(err, blob.ErrFull):
		code = http.StatusInsufficientStorage
	}
	http.Error(w, err.Error(), code)
}

// getLogs answers from this node's journal.
func (s *rpcServer) getLogs(l *logs) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q journal.Query
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		page, err := l.local(r.Context(), q)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(page) // a client that is gone asks again
	}
}

// keepLogs writes another node's lines into this node's journal, before it answers.
func (s *rpcServer) keepLogs(l *logs) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var b copyBatch
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxMessage)).Decode(&b); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := l.keep(r.Context(), b); err != nil {
			http.Error(w, err.Error(), http.StatusInsufficientStorage)
		}
	}
}

// getLoad tells how many slots of this node are used.
func (s *rpcServer) getLoad(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(s.load())
}

// load is how busy a node is; Full says that its disk has no room for more than the state.
type load struct {
	Used, Slots int
	Full        bool
}

// goneWant is how the answer to a guard's statement begins.
const goneWant = "HTTP/1.1 200"

// gone passes a guard's statement on to the leader: nothing of that session is alive (rules A7).
func (s *rpcServer) gone(w http.ResponseWriter, r *http.Request) {
	lose := &scheduler.LoseSession{Session: r.FormValue("session"), Reason: "node " + r.FormValue("name") + " died"}
	if _, err := s.router.Do(r.Context(), lose); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// goneStatement is the request that a guard makes, in the bytes that it writes: the peer port's tag for HTTP first.
func goneStatement(session, name string) []byte {
	body := "session=" + session + "&name=" + name
	return []byte("H" + "POST " + rpcGone + " HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n" +
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// newRPC wraps the handler in a server with the limits of a port that only nodes speak to.
func newRPC(h http.Handler, log hclog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true, ForceLevel: hclog.Debug})}
}
