package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// roundTrips answers the n-th request (from 1).
type roundTrips struct {
	n     int
	reqs  []string // bodies
	paths []string
	f     func(n int, r *http.Request) (*http.Response, error)
}

func (rt *roundTrips) RoundTrip(r *http.Request) (*http.Response, error) {
	rt.n++
	body, _ := io.ReadAll(r.Body)
	rt.reqs = append(rt.reqs, string(body))
	rt.paths = append(rt.paths, r.URL.RequestURI())
	return rt.f(rt.n, r)
}

func (rt *roundTrips) client() *Client {
	return &Client{Base: "http://node.test:7777", HTTPClient: &http.Client{Transport: rt}}
}

func answer(status int, body string, header ...string) (*http.Response, error) {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
}

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func TestSubmitKeepsItsRequestID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &roundTrips{f: func(n int, _ *http.Request) (*http.Response, error) {
			switch n {
			case 1:
				return nil, errRefused
			case 2:
				return nil, io.ErrUnexpectedEOF
			case 3:
				return answer(503, `{"error":"no_quorum","message":"m"}`)
			case 4:
				return answer(503, `{"error":"overloaded","message":"m"}`, "Retry-After", "2")
			}
			return answer(200, `{"runId":"R1","stepId":"R1:1","executionId":"R1:1:1"}`)
		}}
		start := time.Now()
		got, err := rt.client().Submit(t.Context(), SubmitRequest{WorkspaceID: "W1", Module: "m", Target: "t", Arguments: []string{`"Joe"`}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Submitted{"R1", "R1:1", "R1:1:1"}, got); diff != "" {
			t.Error(diff)
		}
		if rt.n != 5 {
			t.Fatalf("%d attempts, want 5", rt.n)
		}
		for i, body := range rt.reqs {
			if body != rt.reqs[0] {
				t.Errorf("attempt %d sent %s, the first %s", i+1, body, rt.reqs[0])
			}
		}
		var sent struct {
			RequestID string      `json:"requestId"`
			Arguments [][2]string `json:"arguments"`
		}
		if err := json.Unmarshal([]byte(rt.reqs[0]), &sent); err != nil || len(sent.RequestID) != 26 {
			t.Errorf("request id %q, %v", sent.RequestID, err)
		}
		if diff := cmp.Diff([][2]string{{"json", `"Joe"`}}, sent.Arguments); diff != "" {
			t.Error(diff)
		}
		if d := time.Since(start); d < 2*time.Second {
			t.Errorf("took %s: Retry-After was not honoured", d)
		}
	})
}

func TestSubmitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &roundTrips{f: func(int, *http.Request) (*http.Response, error) { return nil, errRefused }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := rt.client().Submit(ctx, SubmitRequest{})
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v", err)
		}
		if rt.n < 30 {
			t.Errorf("only %d attempts in a minute", rt.n)
		}
	})
}

// TestSubmitTellsTheRefusal: a context that ends in the middle of an attempt does not hide what the node said.
func TestSubmitTellsTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &roundTrips{f: func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				return answer(503, `{"error":"no_quorum","message":"alone"}`)
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := rt.client()
		told := 0
		c.OnRetry = func(error) { told++ }
		if _, err := c.Submit(ctx, SubmitRequest{}); !IsCode(err, CodeNoQuorum) {
			t.Errorf("error %v", err)
		}
		if told == 0 {
			t.Error("nobody was told of the retries")
		}
	})
}

func TestDialPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &roundTrips{f: func(int, *http.Request) (*http.Response, error) { return nil, errRefused }}
		c := rt.client()
		c.DialPatience = time.Second
		start := time.Now()
		if _, err := c.Submit(t.Context(), SubmitRequest{}); err == nil {
			t.Error("no error")
		}
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
		want       string
		attempts   int
	}{
		{"document", `{"error":"not_found","message":"no run R1"}`, 404, "not_found: no run R1", 1},
		{"details", `{"error":"bad_request","details":{"name":"exists"}}`, 400, `bad_request:  (details: {"name":"exists"})`, 1},
		{"text", "gone wrong\n", 500, "HTTP 500: gone wrong", 1},
		{"overloaded", `{"error":"overloaded","message":"busy"}`, 503, "overloaded: busy", readAttempts},
		{"no quorum", `{"error":"no_quorum","message":"alone"}`, 503, "no_quorum: alone", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := &roundTrips{f: func(int, *http.Request) (*http.Response, error) { return answer(tt.status, tt.body) }}
				_, err := rt.client().Run(t.Context(), "W1", "R1")
				if err == nil || err.Error() != tt.want {
					t.Errorf("error %q, want %q", err, tt.want)
				}
				var e *Error
				if !errors.As(err, &e) || e.Status != tt.status {
					t.Errorf("not a typed error with its status: %#v", err)
				}
				if rt.n != tt.attempts {
					t.Errorf("%d attempts, want %d", rt.n, tt.attempts)
				}
			})
		})
	}
}

func TestReadFallsBackToStale(t *testing.T) {
	rt := &roundTrips{f: func(_ int, r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("consistency") != "stale" {
			return answer(503, `{"error":"no_quorum","message":"alone"}`)
		}
		return answer(200, `{"runs":[],"cursor":null}`, "Coflux-Index", "42", "Coflux-Stale-For", "1500")
	}}
	c := rt.client()
	var age time.Duration
	c.OnStale = func(d time.Duration) { age = d }
	doc, err := c.Runs(t.Context(), "W1", 5, "")
	if err != nil {
		t.Fatal(err)
	}
	if !doc.Stale || doc.Index != 42 || age != 1500*time.Millisecond {
		t.Errorf("stale %v, index %d, age %s", doc.Stale, doc.Index, age)
	}
	c.Stale = true
	if doc, err = c.Runs(t.Context(), "W1", 0, ""); err != nil || !doc.Stale {
		t.Errorf("stale at once: %v, %v", doc.Stale, err)
	}
	want := []string{"/api/runs?limit=5&workspaceId=W1", "/api/runs?consistency=stale&limit=5&workspaceId=W1",
		"/api/runs?consistency=stale&workspaceId=W1"}
	if diff := cmp.Diff(want, rt.paths); diff != "" {
		t.Error(diff)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	in := ": hello\n\nevent: x\ndata: one\n\ndata: two\r\ndata:three\r\n\r\nid: 5\n\ndata: cut"
	var got []string
	err := readEvents(strings.NewReader(in), func() {}, func(b []byte) error {
		got = append(got, string(b))
		return nil
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"one", "two\nthree"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWatchRunMergesAndReconnects(t *testing.T) {
	t.Parallel()
	connections := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections++
		if r.Header.Get("Accept") != "text/event-stream" || r.URL.Path != "/topics/workspaces/W1/runs/R1" {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "data: {\"index\":%d,\"document\":{\"steps\":{\"R1:1\":{\"stepNumber\":1,\"executions\":{}}}}}\n\n", connections)
		if connections == 2 {
			fmt.Fprint(w, "data: {\"index\":9,\"steps\":{\"R1:2\":{\"stepNumber\":2,\"executions\":{\"10\":{},\"9\":{}}}}}\n\n")
		}
	}))
	defer srv.Close()
	hc := &http.Client{Transport: Transport()}
	defer hc.CloseIdleConnections()
	c := &Client{Base: srv.URL, HTTPClient: hc}
	var got []string
	var doc Run
	err := c.WatchRun(t.Context(), "W1", "R1", func(e RunEvent) error {
		doc.Apply(e)
		got = append(got, fmt.Sprintf("%d steps at %d", len(doc.Steps), e.Index))
		if len(e.Steps) == 0 {
			return nil
		}
		if n, _ := doc.Steps["R1:2"].Latest(); n != 10 {
			t.Errorf("latest attempt %d, want 10", n)
		}
		return ErrStop
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1 steps at 1", "1 steps at 2", "2 steps at 9"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFollowLogsGivesEachEntryOnce(t *testing.T) {
	t.Parallel()
	connections := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connections++
		e := func(n int) string { return fmt.Sprintf(`{"executionId":"R1:1:1","timestamp":%d,"level":1}`, n) }
		if connections == 1 {
			fmt.Fprintf(w, "data: [%s]\n\ndata: [%s]\n\n", e(1), e(2))
			return
		}
		fmt.Fprintf(w, "data: [%s,%s,%s]\n\ndata: [%s]\n\n", e(1), e(2), e(3), e(4))
	}))
	defer srv.Close()
	hc := &http.Client{Transport: Transport()}
	defer hc.CloseIdleConnections()
	var got []int64
	err := (&Client{Base: srv.URL, HTTPClient: hc}).FollowLogs(t.Context(), LogQuery{Run: "R1"}, func(es []LogEntry) error {
		for _, e := range es {
			got = append(got, e.Timestamp)
		}
		if len(got) >= 4 {
			return ErrStop
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{1, 2, 3, 4}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLocalhostNamesAreResolvedHere(t *testing.T) {
	t.Parallel()
	var host string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host = r.Host
		fmt.Fprint(w, `{}`)
	}))
	defer srv.Close()
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	hc := &http.Client{Transport: Transport()}
	defer hc.CloseIdleConnections()
	want := fmt.Sprintf("acme.localhost:%d", port)
	if err := (&Client{Base: "http://" + want, HTTPClient: hc}).Healthz(t.Context()); err != nil {
		t.Fatal(err)
	}
	if host != want {
		t.Errorf("Host %q, want %q", host, want)
	}
}

func TestResultOK(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		`{"type":"value"}`: true, `{"type":"error"}`: false, `{"type":"cancelled"}`: false,
		`{"type":"spawned"}`: true, `{"type":"spawned","result":{"type":"error"}}`: false,
		`{"type":"cached","result":{"type":"value"}}`: true, `{"type":"abandoned"}`: false,
	} {
		var r Result
		if err := json.Unmarshal([]byte(in), &r); err != nil || string(r.Raw) != in {
			t.Fatalf("%s: raw %s, %v", in, r.Raw, err)
		}
		if r.OK() != want {
			t.Errorf("%s: OK %v", in, r.OK())
		}
	}
}
