package api

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	s, _ := newMemory(t).server(nil)
	tests := []struct {
		host string
		ok   bool
	}{
		{"localhost:7777", true}, {"LOCALHOST", true}, {"acme.localhost:7777", true}, {"127.0.0.1:7777", true}, {"127.9.9.9", true},
		{"[::1]:7777", true}, {"node1:7777", true}, {"Node1.", true}, {"10.1.2.3:7777", true},
		{"evil.test", false}, {"localhost.evil.test", false}, {"xlocalhost", false}, {"10.1.2.4", false}, {"", false},
		{"node1.evil.test:7777", false}, {"0.0.0.0", false}, {"[::]:7777", false}, {"[::2]:7777", false}, {"::ffff:127.0.0.1", true},
	}
	for _, tt := range tests {
		for _, path := range []string{"/healthz", "/topics/workspaces", "/"} {
			w := ask(s, "GET", path, "", "Host", tt.host)
			if (w.Code != 421) != tt.ok {
				t.Errorf("host %q, path %s: %d", tt.host, path, w.Code)
			}
			if !tt.ok {
				checkRefusal(t, w, 421, "misdirected", nil)
			}
		}
	}
}

func TestAddressOfTheConnectionIsAHost(t *testing.T) {
	t.Parallel()
	s, _ := newMemory(t).server(nil)
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	for host, want := range map[string]int{"": 200, "evil.test": 421, "192.0.2.7": 421} {
		r, _ := http.NewRequest("GET", srv.URL+"/healthz", nil)
		r.Host = host
		res, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("host %q: %d", host, res.StatusCode)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	s, w := m.server(nil)
	body := `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[]}`
	tests := []struct {
		name, method, path string
		header             []string
		status             int
		code               string
	}{
		{"no browser", "POST", "/api/submit_workflow", nil, 200, ""},
		{"own page", "POST", "/api/submit_workflow", []string{"Origin", "http://localhost:7777", "Sec-Fetch-Site", "same-origin"}, 200, ""},
		{"own page, old browser", "POST", "/api/submit_workflow", []string{"Origin", "http://localhost:7777"}, 200, ""},
		{"foreign page", "POST", "/api/submit_workflow", []string{"Sec-Fetch-Site", "cross-site"}, 403, "forbidden_origin"},
		{"foreign page, old browser", "POST", "/api/submit_workflow", []string{"Origin", "http://evil.test"}, 403, "forbidden_origin"},
		{"sandboxed page", "POST", "/api/submit_workflow", []string{"Origin", "null"}, 403, "forbidden_origin"},
		{"foreign upload", "PUT", "/blobs/x", []string{"Sec-Fetch-Site", "cross-site"}, 403, "forbidden_origin"},
		{"form", "POST", "/api/submit_workflow", []string{"Content-Type", "text/plain"}, 400, "bad_request"},
		{"charset", "POST", "/api/submit_workflow", []string{"Content-Type", "application/json; charset=utf-8"}, 200, ""},
		{"no type", "POST", "/api/submit_workflow", []string{"Content-Type", ""}, 400, "bad_request"},
		{"version", "POST", "/api/submit_workflow", []string{"X-API-Version", "0.11"}, 200, ""},
		{"foreign version", "POST", "/api/submit_workflow", []string{"X-API-Version", "9.9"}, 409, "version_mismatch"},
		{"foreign version elsewhere", "GET", "/topics/workspaces", []string{"X-API-Version", "9.9"}, 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := m.store.Index()
			w := ask(s, tt.method, tt.path, body, tt.header...)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.code) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if changed := m.store.Index() != before; changed != (tt.method == "POST" && tt.status == 200) {
				t.Errorf("changed %v", changed)
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Error("other origins are let in")
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) })
	s, _ := newMemory(t).server(page)
	for path, policy := range map[string]string{"/": pagePolicy, "/app.js": pagePolicy, "/api/nodes": plainPolicy, "/logs?run=R": plainPolicy} {
		w := ask(s, "GET", path, "")
		if w.Code != 200 || w.Header().Get("Content-Security-Policy") != policy || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	if w := ask(s, "GET", "/", ""); w.Body.String() != "page" {
		t.Errorf("page: %s", w.Body)
	}
	for _, bad := range []string{"'unsafe-inline'", "'unsafe-eval'", "*"} {
		if strings.Contains(pagePolicy, bad) {
			t.Errorf("the page's policy allows %s", bad)
		}
	}
}

// deadlines is a writer that notes its deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error  { d.read = append(d.read, t); return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error { return nil }

// TestReadDeadlines: a body has to arrive in time, and no deadline is left behind that would end the request later.
func TestReadDeadlines(t *testing.T) {
	t.Parallel()
	s, _ := newMemory(t).server(nil)
	get := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	s.Handler().ServeHTTP(get, httptest.NewRequest("GET", "http://localhost/healthz", nil))
	if len(get.read) != 0 {
		t.Errorf("a request without body got %v", get.read)
	}
	post := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", "http://localhost/api/create_workspace", strings.NewReader(`{"name":"x"}`))
	r.Header.Set("Content-Type", "application/json")
	s.Handler().ServeHTTP(post, r)
	if len(post.read) != 2 || post.read[0].IsZero() || !post.read[1].IsZero() {
		t.Errorf("deadlines %v (%s)", post.read, post.Body)
	}
	broken := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r = httptest.NewRequest("POST", "http://localhost/api/create_workspace", iotest.ErrReader(os.ErrDeadlineExceeded))
	r.Header.Set("Content-Type", "application/json")
	s.Handler().ServeHTTP(broken, r)
	if len(broken.read) != 1 || broken.Header().Get("Connection") != "close" {
		t.Errorf("a body that does not come is waited for again: %v %v", broken.read, broken.Header())
	}
	checkRefusal(t, broken.ResponseRecorder, 400, "bad_request", nil)
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("bug") })
	s, _ := newMemory(t).server(page)
	checkRefusal(t, ask(s, "GET", "/", ""), 500, "internal", nil)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	known := map[permission]bool{permOpen: true, permRead: true, permSubmit: true, permWorker: true, permAdmin: true, permSuper: true}
	seen := map[string]bool{}
	asked := map[string]bool{"/api/get_input": true} // reads, with a body as ids of inputs have a slash
	for _, r := range routes {
		if !known[r.needs] || r.handle == nil || r.doc == "" || seen[r.method+r.path] {
			t.Errorf("%s %s is not a whole row of the table", r.method, r.path)
		}
		if r.method != "GET" && r.method != "HEAD" && (r.needs == permRead || r.needs == permOpen) && !asked[r.path] {
			t.Errorf("%s %s changes things with permission %q", r.method, r.path, r.needs)
		}
		if !isRoute(strings.ReplaceAll(r.path, "{", "x")) {
			t.Errorf("%s is taken for the page", r.path)
		}
		seen[r.method+r.path] = true
	}
}

func TestValidOrigin(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{
		"https://flows.example.com": true, "http://localhost:3000": true, "http://localhost:*": true, "https://*.example.com": true,
		"https://[::1]:8080": true, "https://app-*.example.com": true,
		"*": false, "": false, "null": false, "localhost:3000": false, "ftp://x": false, "https://": false, "https://*": false,
		"https://a.test/": false, "https://a.test/x": false, "https://*.*.test": false, "https://u@a.test": false,
		"https://a.test?x": false, "https://*:443": false, "https://*.": false,
	} {
		if ValidOrigin(pattern) != want {
			t.Errorf("%q: %v", pattern, !want)
		}
	}
}

// TestSharing: pages of the origins that were named may use the node, all others see nothing of it.
func TestSharing(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	plain, w := m.server(nil)
	s := New(Config{Backend: m, Logger: plain.Logger, AllowedOrigins: []string{"https://Flows.example.com", "http://localhost:*", "https://*.dev.test"}})
	t.Cleanup(s.Stop)
	body := `{"workspaceId":"` + w + `","module":"m","target":"t","arguments":[]}`
	for origin, ok := range map[string]bool{
		"https://flows.example.com": true, "http://localhost:3000": true, "https://a.dev.test": true, "https://a.b.dev.test": true,
		"": false, "null": false, "https://flows.example.com.evil.test": false, "http://flows.example.com": false, "http://localhost:": false,
		"https://.dev.test": false, "https://dev.test": false, "https://evil.test/.dev.test": false, "https://u@evil.test#.dev.test": false,
		"http://localhost:1@evil.test": false,
	} {
		head := []string{"Origin", origin, "Sec-Fetch-Site", "cross-site"}
		allowed := ""
		if ok {
			allowed = origin
		}
		for _, method := range []string{"OPTIONS", "GET", "POST"} {
			w := ask(s, method, map[bool]string{true: "/api/submit_workflow", false: "/topics/workspaces"}[method == "POST"], body, head...)
			want := map[string]int{"OPTIONS": 204, "GET": 200, "POST": 200}[method]
			if method == "POST" && !ok {
				want = 403
			}
			h := w.Header()
			if w.Code != want || h.Get("Access-Control-Allow-Origin") != allowed || h.Get("Vary") != "Origin" ||
				h.Get("Access-Control-Allow-Methods") != corsMethods || h.Get("Access-Control-Allow-Headers") != corsHeaders || h.Get("Access-Control-Max-Age") != "86400" {
				t.Errorf("%s from %q: %d %v %s", method, origin, w.Code, h, w.Body)
			}
			if h.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("a page may use what a browser remembers")
			}
		}
	}
	checkRefusal(t, ask(s, "OPTIONS", "/api/submit_workflow", "", "Host", "evil.test", "Origin", "http://localhost:1"), 421, "misdirected", nil)
}
