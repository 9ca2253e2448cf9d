package api

import (
	"net/http"

	"github.com/coflux-mesh/coflux/node/blob"
)

// BackupQuery says what a backup may leave out.
type BackupQuery struct {
	// Base is the id of an earlier backup, BaseName what its file is called.
	Base, BaseName string
	// Without is the key of a blob that lists the keys of blobs that Base has, 32 bytes each; "" = nothing is left out.
	Without string
}

func (s *Server) backup(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	q := BackupQuery{Base: values.Get("base"), BaseName: values.Get("baseName"), Without: values.Get("without")}
	if q.Without != "" && blob.CheckKey(q.Without) != nil {
		return invalid("without", "invalid", "parameter without is the key of a blob")
	}
	if (q.Base == "") != (q.Without == "") || len(q.Base) > maxName || len(q.BaseName) > maxName {
		return invalid("base", "invalid", "parameters base and without come together: the id of a backup, and what it has")
	}
	begun := &begunWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	err := s.Backend.Backup(r.Context(), begun, q)
	if err != nil && begun.begun {
		s.Logger.Warn("a backup was not completed", "error", err)
		panic(http.ErrAbortHandler) // the client must not take it for the whole; it would not anyway
	}
	return err
}

// begunWriter writes a reply that may take as long as it likes while it moves, and knows whether it has begun.
type begunWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (w *begunWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.begun = true
		w.Header().Set("Content-Type", "application/zstd")
		w.WriteHeader(http.StatusOK)
	}
	m := movingWriter{w.ResponseWriter, w.control}
	return m.Write(p)
}
