package scheduler

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files anew")

// samples holds one request of each kind with every field set.
func samples() []Request {
	group, retry, limit, age := 3, true, 4, int64(5)
	cache := &state.Cache{All: true, Params: []int{1}, MaxAge: &age, Namespace: "n", Version: "v"}
	retries := &state.Retries{Limit: &limit, BackoffMin: 5, BackoffMax: 6}
	value := state.Value{Data: []byte(`[1]`), BlobKey: "ab", Size: 5,
		References: []state.Reference{{Kind: "execution", ID: "R:1:1", Module: "m", Target: "t"}}}
	return []Request{
		&SubmitRun{RequestID: "01HF7YAT00000000000000000A", Workspace: "W", Module: "m", Target: "t", Arguments: []state.Value{value},
			Delay: 1, Timeout: 2, Retries: retries, Defer: &Params{All: true, Indexes: []int{1}}, Cache: cache, IdempotencyKey: "k",
			Requires: state.Tags{"a": {"1"}}, Memo: true, Recurrent: true, WaitFor: []int{0}, Durable: true},
		&SubmitStep{Session: "S", Parent: "R:1:1", Number: 7, Module: "m", Target: "t", Type: state.TypeTask,
			Arguments: []state.Value{value}, Delay: 1, Timeout: 2, Retries: retries, Defer: &Params{All: true, Indexes: []int{1}}, Cache: cache,
			Group: &group, Requires: state.Tags{"a": {"1"}}, Memo: &Memo{Off: true, Params: Params{All: true, Indexes: []int{1, 0}}}, Recurrent: true, WaitFor: []int{0},
			Durable: true, Equal: 2},
		&ReportResult{Session: "S", Execution: "R:1:1", Result: state.Result{Type: state.ResultError, Value: &value, Reason: "why",
			Error: &state.Error{Type: "E", Message: "m", Retryable: &retry, Frames: []state.Frame{{File: "f", Line: 3, Name: "n", Code: "c"}}}}},
		&Cancel{Workspace: "W", Execution: "R:1:1"},
		&CancelHandles{Session: "S", Execution: "R:1:1", Handles: []string{"R:2:1"}},
		&OpenSession{Session: "S", Project: "p", Workspace: "w", WorkspaceID: "W", Node: "N", NodeName: "n", Boot: "b", Slots: 4,
			Targets: []state.DeclaredTarget{{Module: "m", Name: "t", Type: state.TypeWorkflow}}, Provides: state.Tags{"a": {"1"}}, Accepts: state.Tags{"b": {"2"}}},
		&UpdateSession{Session: "S", Targets: []state.DeclaredTarget{{Module: "m", Name: "t", Type: state.TypeTask}}, Draining: true},
		&LoseSession{Session: "S", Reason: "r"},
		&CreateWorkspace{RequestID: "01HF7YAT00000000000000000A", Project: "p", Name: "w", Base: "W", Ensure: true, Seed: true},
		&PutSetting{Name: "voters", Value: 5, Seed: true},
		&RegisterGroup{Session: "S", Execution: "R:1:1", ID: 3, Name: "g"},
		&AddDependency{Session: "S", Execution: "R:1:1", On: []string{"R:2:1"}},
		&SeeMember{ID: "N", Name: "n"},
		&RemoveMember{ID: "N"},
		&RerunStep{RequestID: "01HF7YAT00000000000000000A", Workspace: "W", Step: "R:1"},
		&UpdateWorkspace{RequestID: "01HF7YAT00000000000000000A", Workspace: "W", Name: "n", Rebase: true, Base: "B"},
		&PauseWorkspace{RequestID: "01HF7YAT00000000000000000A", Workspace: "W"},
		&ResumeWorkspace{RequestID: "01HF7YAT00000000000000000A", Workspace: "W"},
		&ArchiveWorkspace{RequestID: "01HF7YAT00000000000000000A", Workspace: "W"},
		&RegisterManifests{RequestID: "01HF7YAT00000000000000000A", Workspace: "W", Session: "S",
			Modules: []ModuleManifest{{Module: "m", Workflows: []WorkflowDefinition{{Name: "t", Definition: []byte(`{}`)}}}}},
		&ArchiveModule{RequestID: "01HF7YAT00000000000000000A", Workspace: "W", Module: "m"},
		&SubmitInput{Session: "S", Execution: "R:1:1", Number: 8, Key: "k", Template: "{x}?", Placeholders: []state.Placeholder{{Name: "x", Value: value}},
			Schema: `{"type":"string"}`, Initial: []byte(`"a"`), Title: "h", Actions: []string{"Yes", "No"}, Requires: state.Tags{"a": {"1"}}},
		&RespondInput{RequestID: "01HF7YAT00000000000000000A", Input: "R/i1", Value: value},
		&DismissInput{RequestID: "01HF7YAT00000000000000000A", Input: "R/i1"},
		&Suspend{Session: "S", Execution: "R:1:1", Delay: 1, ExecuteAfter: 2, Handles: []state.Reference{{Kind: "execution", ID: "R:2:1"}}},
		&PackRuns{File: PackFile{"P", "ab", 1, 2, 3, []string{"m/t"}, "cd"}, Workspace: "W", Before: 4, Evict: 5,
			Runs: []PackedRun{{ID: "R", Digest: 6, Kept: []KeptValue{{Workspace: "W", Key: "k", Execution: "R:1:1", CreatedAt: 7, CompletedAt: 8, Value: value}}}}},
		&UnpackRuns{Runs: []UnpackedRun{{Run: "R", Pack: "P", Rows: []state.Effect{{Table: state.TableRuns, Row: []byte("r"), Key: []byte{}}}, More: true, Digest: 9}}},
		&EraseLeftovers{},
		&ForgetRuns{Pack: "P", Runs: []string{"R"}},
		&MergePacks{File: PackFile{"P", "ab", 1, 2, 3, []string{"m/t"}, "cd"}, From: []MergedPack{{Pack: "Q", Runs: []string{"R"}}}},
		&PersistAsset{Session: "S", Execution: "R:1:1", Name: "n", Count: 1, Size: 2, BlobKey: "ab", Entry: &state.AssetEntry{Path: "p", BlobKey: "cd", Size: 2, Metadata: []byte("{}")}},
		&UseAsset{Session: "S", Execution: "R:1:1", Asset: "A1"},
		&ForgetAssets{Assets: []string{"A1"}, Before: 3},
	}
}

func TestEveryKindOfRequestSurvivesTheWire(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range samples() {
		for i := range reflect.ValueOf(r).Elem().NumField() {
			if reflect.ValueOf(r).Elem().Field(i).IsZero() {
				t.Errorf("the sample of %s leaves field %d empty", Name(r), i)
			}
		}
		data, err := EncodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeRequest(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back, encoded); diff != "" {
			t.Errorf("%s: %s", Name(r), diff)
		}
		seen[Name(r)] = true
	}
	for i, k := range kinds {
		if !seen[k.name] {
			t.Errorf("no sample of %s", k.name)
		}
		if int(k.kind) != i+1 {
			t.Errorf("%s has number %d in row %d: numbers are appended, never reused", k.name, k.kind, i)
		}
	}
}

// Requests travel between nodes of different versions: what was once written must stay readable.
func TestGoldenRequests(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "requests.golden")
	var now strings.Builder
	for _, r := range samples() {
		data, err := EncodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&now, "%s %s\n", Name(r), hex.EncodeToString(data))
	}
	if *update {
		if err := os.WriteFile(path, []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), now.String()); diff != "" {
		t.Errorf("encodings changed: a node of another version can not read them\n%s", diff)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(golden)), "\n") {
		_, text, _ := strings.Cut(line, " ")
		data, _ := hex.DecodeString(text)
		r, err := DecodeRequest(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(samples()[i], r, encoded); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDecodeRequestRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing": "", "garbage": "c1c1", "unknown kind": "82a16bccffa162c0", "kind without body": "81a16b01",
	} {
		data, _ := hex.DecodeString(text)
		if r, err := DecodeRequest(data); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
	if _, err := EncodeRequest(&broken{}); err == nil {
		t.Error("a request outside the table was encoded")
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, r := range samples() {
		data, err := EncodeRequest(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRequest(data)
		if err != nil {
			return
		}
		again, err := EncodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeRequest(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back, encoded); diff != "" {
			t.Error(diff)
		}
		// Whatever it asks for, the decision is made or refused, never a bug.
		store := state.New()
		Step(store.Scratch(), Input{Now: start, Random: newRig(t).ids, Requests: []Request{r}, Log: func(msg string, args ...any) {
			t.Errorf("%s %v", msg, args)
		}})
	})
}

func TestLazyRequests(t *testing.T) {
	t.Parallel()
	for _, r := range samples() {
		name := Name(r)
		if want := name == "register_group" || name == "add_dependency"; Lazy(r) != want {
			t.Errorf("%s: lazy %v", name, Lazy(r))
		}
	}
}
