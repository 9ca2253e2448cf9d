package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coflux-mesh/coflux/node/blob"
)

func TestBlobs(t *testing.T) {
	t.Parallel()
	s, _ := newMemory(t).server(nil)
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	content := bytes.Repeat([]byte("\x00<script>"), 100_000)
	url := srv.URL + "/blobs/" + blob.KeyOf(content)
	do := func(method string, body []byte) (int, []byte, http.Header) {
		r, err := http.NewRequest(method, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, got, res.Header
	}
	if code, _, _ := do("HEAD", nil); code != 404 {
		t.Errorf("HEAD of nothing: %d", code)
	}
	for range 2 {
		if code, body, _ := do("PUT", content); code != 204 || len(body) != 0 {
			t.Fatalf("PUT: %d %s", code, body)
		}
	}
	if code, body, _ := do("PUT", content[1:]); code != 400 || !bytes.Contains(body, []byte("hash_mismatch")) {
		t.Errorf("PUT of something else: %d %s", code, body)
	}
	code, got, header := do("GET", nil)
	if code != 200 || !bytes.Equal(got, content) || header.Get("Content-Type") != "application/octet-stream" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("GET: %d, %d bytes, %v", code, len(got), header)
	}
	if code, body, _ := do("HEAD", nil); code != 200 || len(body) != 0 {
		t.Errorf("HEAD: %d %s", code, body)
	}
}

// breaking is a node whose blobs are shorter than they should be.
type breaking struct{ *memory }

func (breaking) BlobOpen(context.Context, string) (io.ReadCloser, int64, error) {
	return io.NopCloser(bytes.NewReader([]byte("half"))), 8, nil
}

func TestABlobThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, _ := m.server(nil)
	s.Backend = breaking{m}
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL + "/blobs/" + blob.KeyOf(nil))
	if err != nil {
		return // broken off before the reply began
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%d bytes without an error", len(body))
	}
}
