package api

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/coflux-mesh/coflux/node/blob"
)

const (
	// maxBlob bounds one blob, blobIdle how long one may stand still on its way.
	maxBlob  = 5 << 30
	blobIdle = 30 * time.Second
)

func (s *Server) getBlob(w http.ResponseWriter, r *http.Request) error {
	key := r.PathValue("key")
	if blob.CheckKey(key) != nil {
		return notFound("blob", key)
	}
	body, size, err := s.Backend.BlobOpen(r.Context(), key)
	if err != nil {
		return err
	}
	defer body.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	w.WriteHeader(http.StatusOK)
	moving := &movingWriter{w, http.NewResponseController(w)}
	if n, err := io.Copy(moving, body); err != nil || n != size {
		panic(http.ErrAbortHandler) // what was promised cannot be kept: the client must not take it for the whole
	}
	return nil
}

func (s *Server) headBlob(w http.ResponseWriter, r *http.Request) error {
	key := r.PathValue("key")
	if blob.CheckKey(key) != nil {
		return notFound("blob", key)
	}
	has, err := s.Backend.BlobHas(r.Context(), key)
	if err != nil {
		return err
	}
	if !has {
		return notFound("blob", key)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) putBlob(w http.ResponseWriter, r *http.Request) error {
	key := r.PathValue("key")
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	control := http.NewResponseController(w)
	body := http.MaxBytesReader(w, r.Body, maxBlob)
	if err := s.Backend.BlobPut(r.Context(), key, &movingReader{body, control}); err != nil {
		return err
	}
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Now().Add(replyTime))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxHold is how many blobs one request holds.
const maxHold = 10_000

func (s *Server) holdBlobs(w http.ResponseWriter, r *http.Request) error {
	b, err := readBody(w, r)
	if err != nil {
		return err
	}
	var keys []string
	b.into("keys", &keys)
	switch {
	case !b.has("keys"):
		b.wrong("keys", "required")
	case len(keys) > maxHold:
		b.wrong("keys", "invalid")
	}
	if err := b.err(); err != nil {
		return err
	}
	if err := s.Backend.BlobHold(r.Context(), keys); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// movingReader lets a body take as long as it likes while it moves.
type movingReader struct {
	r       io.Reader
	control *http.ResponseController
}

func (m *movingReader) Read(p []byte) (int, error) {
	_ = m.control.SetReadDeadline(time.Now().Add(blobIdle)) // not every writer of a test can
	n, err := m.r.Read(p)
	if err == io.EOF {
		_ = m.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// movingWriter is movingReader for a reply.
type movingWriter struct {
	w       io.Writer
	control *http.ResponseController
}

func (m *movingWriter) Write(p []byte) (int, error) {
	_ = m.control.SetWriteDeadline(time.Now().Add(blobIdle))
	return m.w.Write(p)
}
