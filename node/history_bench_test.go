package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/node/pack"
	"github.com/hashicorp/go-hclog"
)

// BenchmarkMillionRuns starts a node whose history has a million finished runs of two steps, and measures what they cost it.
//
//	go test ./node -run xxx -bench MillionRuns -benchtime 1x
func BenchmarkMillionRuns(b *testing.B) {
	const runs = 1_000_000
	dir := filepath.Join(b.TempDir(), "n")
	workspace := manyRuns(b, dir, runs)
	b.ResetTimer()
	for range b.N {
		cfg := Default()
		cfg.Name, cfg.DataDir, cfg.GossipPort, cfg.PeerPort, cfg.HTTPPort = "n", dir, 0, 0, 0
		began := time.Now()
		n, err := New(cfg, hclog.NewNullLogger())
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		for pause(b.Context(), time.Millisecond) {
			if ready, _ := (backend{n}).Ready(); ready {
				break
			}
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/start")
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapInuse)/(1<<20), "MiB-heap")
		size, err := n.store.Freeze().WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/(1<<20), "MiB-snapshot")
		base := "http://" + n.HTTPAddress()
		b.ReportMetric(answered(b, base+"/api/runs?limit=50&workspaceId="+workspace), "ms/list")
		b.ReportMetric(answered(b, base+"/topics/workspaces/"+workspace+"/runs/"+benchRun(0)), "ms/oldest")
		b.ReportMetric(answered(b, base+"/topics/workspaces/"+workspace+"/runs/"+benchRun(runs-1)), "ms/newest")
		if err := n.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// answered is how long a request takes when it was not asked before, in milliseconds.
func answered(b *testing.B, url string) float64 {
	b.Helper()
	began := time.Now()
	res, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s %v %s", url, res.Status, err, body)
	}
	return float64(time.Since(began).Microseconds()) / 1000
}

func benchRun(i int) string { return fmt.Sprintf("R%07d", i) }

// manyRuns makes a data directory with so many packed runs, a second apart.
func manyRuns(b *testing.B, dir string, runs int) (workspace string) {
	b.Helper()
	blobs := filepath.Join(filepath.Dir(dir), "packs")
	local, err := blob.Open(blobs)
	if err != nil {
		b.Fatal(err)
	}
	store := state.New()
	workspace = "Wbench"
	commit(b, store, &state.Workspace{ID: workspace, Project: "default", Name: "default", CreatedAt: 1})
	start := time.Now().Add(-time.Duration(runs) * time.Second).UnixMilli()
	for from := 0; from < runs; from += packRuns {
		w := newPackWriter()
		var ids []string
		for i := from; i < min(from+packRuns, runs); i++ {
			at := start + int64(i)*1000
			summary := pack.Summary{Run: benchRun(i), Module: "m", Target: "flow", CreatedAt: at, CompletedAt: at + 9, Outcome: "value", Steps: 2}
			if err := w.add(summary, benchRows(b, workspace, benchRun(i), at)); err != nil {
				b.Fatal(err)
			}
			ids = append(ids, benchRun(i))
		}
		f, err := w.store(b.Context(), localStore{local})
		if err != nil {
			b.Fatal(err)
		}
		commit(b, store, &state.Pack{ID: f.ID, Workspace: workspace, BlobKey: f.BlobKey, Size: f.Size, First: f.First, Last: f.Last,
			Targets: f.Targets, RefsKey: f.RefsKey, Runs: state.Lines(ids...)})
	}
	if err := local.Close(); err != nil {
		b.Fatal(err)
	}
	if err := consensus.Seed(dir, store.Freeze(), hclog.NewNullLogger()); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(filepath.Join(blobs, "blobs"), filepath.Join(dir, "blobs")); err != nil {
		b.Fatal(err)
	}
	return workspace
}

// localStore is a mesh of one directory.
type localStore struct{ *blob.Local }

func (s localStore) Hold(ctx context.Context, keys []string) error {
	_, err := s.Local.Hold(ctx, keys)
	return err
}

// benchRows are those of a run of a workflow that called one task.
func benchRows(b *testing.B, workspace, run string, at int64) (rows []state.Effect) {
	b.Helper()
	value := &state.Value{Data: []byte(`"Hello, Joe!"`)}
	for _, r := range []state.Row{
		&state.Step{Run: run, Number: 1, Module: "m", Target: "flow", Type: state.TypeWorkflow, Arguments: []state.Value{{Data: []byte(`"Joe"`)}}, CreatedAt: at},
		&state.Step{Run: run, Number: 2, Module: "m", Target: "greet", Type: state.TypeTask, Parent: run + ":1:1", Request: 1, Arguments: []state.Value{{Data: []byte(`"Joe"`)}}, CreatedAt: at + 2},
		&state.Execution{Run: run, Step: 1, Attempt: 1, Workspace: workspace, Module: "m", Target: "flow", Type: state.TypeWorkflow, CreatedAt: at, Due: true, Session: "S",
			Node: "N", AssignedAt: at, CompletedAt: at + 9, Result: &state.Result{Type: state.ResultValue, Value: value}},
		&state.Execution{Run: run, Step: 2, Attempt: 1, Workspace: workspace, Module: "m", Target: "greet", Type: state.TypeTask, CreatedAt: at + 2, Due: true, Session: "S",
			Node: "N", AssignedAt: at + 2, CompletedAt: at + 7, Result: &state.Result{Type: state.ResultValue, Value: value}},
		&state.Dependency{Execution: run + ":1:1", On: run + ":2:1"},
		&state.Run{ID: run, Workspace: workspace, Module: "m", Target: "flow", CreatedAt: at, Steps: 2, RequestID: "01HF7YAT00000000000000000A"},
	} {
		effect, err := state.EncodeRow(r)
		if err != nil {
			b.Fatal(err)
		}
		rows = append(rows, effect)
	}
	return rows
}

// commit puts a row.
func commit(b *testing.B, store *state.Store, row state.Row) {
	b.Helper()
	scratch := store.Scratch()
	if err := scratch.Try(func(tx *state.Tx) error { tx.Put(row); return nil }); err != nil {
		b.Fatal(err)
	}
	data, err := scratch.Entry(store.View().Time() + 1).Encode()
	if err == nil {
		err = store.Apply(data)
	}
	if err != nil {
		b.Fatal(err)
	}
}
