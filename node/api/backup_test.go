package api

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBackupRoute(t *testing.T) {
	t.Parallel()
	s, _ := newMemory(t).server(nil)
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	key := strings.Repeat("ab", 32)
	for query, want := range map[string]string{
		"":                                       "200 application/zstd backup but for  of ",
		"?base=B&baseName=b&without=" + key:      "200 application/zstd backup but for " + key + " of b",
		"?base=B":                                "400 application/json",
		"?without=" + key:                        "400 application/json",
		"?base=B&without=../x":                   "400 application/json",
		"?base=none&without=" + key:              "404 application/json",
		"?base=broken&baseName=b&without=" + key: "200 application/zstd",
	} {
		res, err := srv.Client().Get(srv.URL + "/api/backup" + query)
		if err != nil {
			if query[:min(len(query), 12)] != "?base=broken" {
				t.Errorf("%s: %v", query, err)
			}
			continue // cut off before its beginning came
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		if got := strings.Join([]string{res.Status[:3], kind, string(body)}, " "); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", query, got)
		}
		if strings.Contains(query, "broken") != (err != nil) {
			t.Errorf("%s: a backup that broke off must not look whole: %v", query, err)
		}
	}
}
