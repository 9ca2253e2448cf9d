package ui

import (
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	page := Handler()
	get := func(method, target, etag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, nil)
		r.Header.Set("If-None-Match", etag)
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w
	}
	root := get("GET", "/", "")
	if root.Code != 200 || !strings.Contains(root.Body.String(), "<title>Coflux</title>") || root.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d %v", root.Code, root.Header())
	}
	if again := get("GET", "/", root.Header().Get("ETag")); again.Code != 304 || again.Body.Len() != 0 {
		t.Errorf("unchanged page: %d", again.Code)
	}
	if js := get("GET", "/app.js", ""); js.Code != 200 || js.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("%d %v", js.Code, js.Header())
	}
	for _, target := range []string{"/x.js", "/static/app.js", "/../ui.go", "/static", "/api/nodes"} {
		if w := get("GET", target, ""); w.Code != 404 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	if w := get("POST", "/", ""); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}

var (
	imports = regexp.MustCompile(`(?m)from "\./([^"]+)";`)
	linked  = regexp.MustCompile(`(?:src|href)="([^"#]+)"`)
)

// TestPageStandsAlone: everything that it needs is embedded, and nothing in it needs a laxer policy than default-src 'self'.
func TestPageStandsAlone(t *testing.T) {
	t.Parallel()
	files := load()
	if len(files) < 5 {
		t.Fatalf("%d files", len(files))
	}
	for name, f := range files {
		if f.kind == "" {
			t.Errorf("%s has no content type", name)
		}
		if n := strings.Count(f.body, "\n"); n > 200 {
			t.Errorf("%s has %d lines", name, n)
		}
		needs := imports.FindAllStringSubmatch(f.body, -1)
		if path.Ext(name) == ".html" {
			needs = linked.FindAllStringSubmatch(f.body, -1)
		}
		for _, m := range needs {
			if _, ok := files[m[1]]; !ok {
				t.Errorf("%s needs %s, which is not embedded", name, m[1])
			}
		}
		for _, bad := range []string{"https://", "//cdn", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "javascript:", "style=\""} {
			if strings.Contains(f.body, bad) {
				t.Errorf("%s contains %q", name, bad)
			}
		}
		if path.Ext(name) != ".svg" && strings.Contains(f.body, "http://") {
			t.Errorf("%s names another host", name)
		}
	}
	if inline := regexp.MustCompile(`(?s)<script[^>]*>[^<]+</script>|<style|\son[a-z]+=`).FindString(files["index.html"].body); inline != "" {
		t.Errorf("inline code: %s", inline)
	}
}
