package e2e

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// TestBackupInS3 saves into a bucket of a server that speaks S3, and restores from there.
func TestBackupInS3(t *testing.T) {
	t.Parallel()
	store := s3mem.New()
	if err := store.CreateBucket("saved"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(store).Server())
	defer srv.Close()
	m := startMesh(t, 1)
	n := m.nodes[0]
	s3 := func(args ...string) output {
		return exe(t, m.dir, []string{"COFLUX_HOST=" + n.host(), "AWS_ENDPOINT_URL=" + srv.URL, "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=here"},
			patience, "coflux", append([]string{"backup"}, args...)...)
	}
	ok := func(want string, args ...string) {
		t.Helper()
		if o := s3(args...); o.status != 0 || !strings.Contains(o.stdout, want) {
			t.Errorf("%v: %s", args, o)
		}
	}
	refused := func(want string, args ...string) {
		t.Helper()
		if o := s3(args...); o.status == 0 || !strings.Contains(o.stderr, want) || strings.Contains(o.stderr, "goroutine") {
			t.Errorf("%v: %s", args, o)
		}
	}
	first := m.submit(n, "single", strings.Repeat("v", 20_000), "")
	m.hasValue(n, first)
	ok("Saved s3://saved/one.backup.", "save", "s3://saved/one.backup")
	second := m.submit(n, "parent", "second", "")
	m.value(n, second)
	ok("(one.backup)", "save", "s3://saved/two.backup", "--base", "s3://saved/one.backup")
	ok("Builds on: ", "inspect", "s3://saved/two.backup")
	refused("is there already", "save", "s3://saved/one.backup")
	refused("cannot read s3://saved/none: ", "inspect", "s3://saved/none")
	refused("names no object", "save", "s3://saved")
	refused("cannot write s3://nowhere/x: ", "save", "s3://nowhere/x")
	n.killed()

	again := newMesh(t)
	ok("Restored into ", "restore", "s3://saved/two.backup", "s3://saved/one.backup", "--data-dir", filepath.Join(again.dir, "n1"))
	restored := again.add("--repo", "flows")
	again.ready()
	if got := compact(again.value(restored, second)); got != `["second","second.1"]` {
		t.Errorf("%s", got)
	}
	restored.said(strings.Repeat("v", 1000), "runs", "result", first)
}

// hasValue waits for a run that has a value, whichever.
func (m *mesh) hasValue(n *node, run string) {
	m.t.Helper()
	if r, err := m.result(n, run, patience); err != nil || !r.OK() {
		m.t.Fatalf("run %s: %+v %v", run, r, err)
	}
}

// TestValuesInS3 has a value come into a bucket, and be read from there by a node that has lost its own copy.
func TestValuesInS3(t *testing.T) {
	slow(t)
	t.Parallel()
	store := s3mem.New()
	if err := store.CreateBucket("values"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(store).Server())
	defer srv.Close()
	m := newMesh(t)
	n := m.add("--repo", "flows", "--blob-store", "s3://values/of")
	m.ready()
	text := strings.Repeat("v", 20_000)
	run := m.submit(n, "single", text, "")
	m.hasValue(n, run)
	n.stopped()
	n.env = append(n.env, "AWS_ENDPOINT_URL="+srv.URL, "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=here")
	n.start()
	m.ready()
	await(t, patience, func() string { // soon after its start
		list, err := store.ListBucket("values", nil, gofakes3.ListBucketPage{})
		if err != nil || len(list.Contents) == 0 || !strings.HasPrefix(list.Contents[0].Key, "of/") {
			return fmt.Sprintf("nothing is in the bucket: %v", err)
		}
		return ""
	})
	n.killed()
	if err := os.RemoveAll(filepath.Join(n.dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	n.start()
	m.ready()
	n.said(text[:1000], "runs", "result", run)
}
