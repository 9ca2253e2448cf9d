package backup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if there, err := Exists(t.Context(), file); there || err != nil {
		t.Error(there, err)
	}
	if _, err := Open(t.Context(), file); err == nil || !strings.Contains(err.Error(), "cannot read the backup") {
		t.Error(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if there, err := Exists(t.Context(), file); !there || err != nil {
		t.Error(there, err)
	}
	for _, place := range []string{"s3://bucket", "s3://bucket/", "s3://bucket/dir/"} {
		if _, err := Open(t.Context(), place); err == nil || !strings.Contains(err.Error(), "names no object") {
			t.Errorf("%s: %v", place, err)
		}
	}
	for _, endpoint := range []string{"s3.example.com", "ftp://s3.example.com", "https://"} {
		t.Setenv("AWS_ENDPOINT_URL", endpoint)
		if _, err := Open(t.Context(), "s3://bucket/key"); err == nil || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL is no address") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
