package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

const (
	// readTime is how long a read waits for a majority, decideTime how long a change does. A client gives up later.
	readTime   = 5 * time.Second
	decideTime = 10 * time.Second
)

// writeJSON answers with a document. HTML characters are left alone: nothing here is ever taken for HTML.
func writeJSON(w http.ResponseWriter, status int, doc any) {
	body, err := encodeJSON(doc)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal","message":"the document cannot be written"}`+"\n")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone
}

func encodeJSON(doc any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// wantsStale reads the consistency that a request asks for.
func wantsStale(r *http.Request) (bool, error) {
	switch c := r.URL.Query().Get("consistency"); c {
	case "", "default", "linearizable":
		return false, nil
	case "stale":
		return true, nil
	default:
		return false, invalid("consistency", "invalid", "there is no consistency "+quoted(c)+": leave it out, or use stale")
	}
}

// read gives the view that a request asks for and says in the reply's headers what it is.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (Reading, error) {
	stale, err := wantsStale(r)
	if err != nil {
		return Reading{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	reading, err := s.Backend.Read(ctx, stale)
	if err != nil {
		return Reading{}, err
	}
	w.Header().Set("Coflux-Index", strconv.FormatUint(reading.View.Index(), 10))
	if stale {
		w.Header().Set("Coflux-Stale-For", strconv.FormatInt(reading.StaleFor.Milliseconds(), 10))
	}
	return reading, nil
}

// readWorkspace is read for a request about a workspace of its project.
func (s *Server) readWorkspace(w http.ResponseWriter, r *http.Request, id string) (Reading, error) {
	project, err := s.project(r)
	if err != nil {
		return Reading{}, err
	}
	reading, err := s.read(w, r)
	if err != nil {
		return Reading{}, err
	}
	_, err = workspaceIn(reading.View, project, id)
	return reading, err
}

func quoted(text string) string {
	if len(text) > 100 {
		text = text[:100] + "..."
	}
	return strconv.QuoteToASCII(text)
}

func decimal(n int) string { return strconv.Itoa(n) }
