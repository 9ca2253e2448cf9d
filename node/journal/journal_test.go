package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("JOURNAL_TEST_WRITER"); dir != "" {
		writeForEver(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func quiet() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Output: io.Discard}) }

func open(t testing.TB, dir string, o Options) *Journal {
	t.Helper()
	j, err := Open(dir, quiet(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Stop)
	return j
}

func line(run, execution string, ts int64, text string) Entry {
	return Entry{RunID: run, ExecutionID: execution, WorkspaceID: "w1", Timestamp: ts, Level: 1, Template: &text}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readAll follows the cursor to the end.
func readAll(t testing.TB, j *Journal, q Query) []Entry {
	t.Helper()
	var out []Entry
	for {
		p, err := j.Query(q)
		must(t, err)
		out = append(out, p.Entries...)
		if len(p.Entries) == 0 {
			return out
		}
		q.After = p.Cursor
	}
}

func texts(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, *e.Template)
	}
	return out
}

var noIdentity = cmpopts.IgnoreFields(Entry{}, "Origin", "Seq")

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	text := "value is {x} \x00 <ü>"
	want := []Entry{
		{RunID: "r", ExecutionID: "e1", WorkspaceID: "w1", Timestamp: 5, Seq: 7, Level: 4, Template: &text, Values: map[string]Value{
			"x": {Type: "raw", Data: json.RawMessage(`{"a":[1,null]}`), References: json.RawMessage("[]")},
			"y": {Type: "blob", Key: strings.Repeat("ab", 32), Size: 12, References: json.RawMessage("[]")},
			"z": {Type: "raw", Data: json.RawMessage("null")},
		}},
		{RunID: "r", ExecutionID: "e2", WorkspaceID: "w2", Timestamp: 3},
	}
	must(t, j.Append(want...))
	must(t, j.Append(line("other", "e9", 1, "not mine")))
	must(t, j.Flush())
	for what, q := range map[string]struct {
		q    Query
		want []Entry
	}{
		"all":        {Query{RunID: "r"}, want},
		"execution":  {Query{RunID: "r", ExecutionID: "e2"}, want[1:]},
		"workspaces": {Query{RunID: "r", Workspaces: []string{"w0", "w1"}}, want[:1]},
		"from":       {Query{RunID: "r", From: 4}, want[:1]},
		"nobody":     {Query{RunID: "none"}, nil},
	} {
		if diff := cmp.Diff(q.want, readAll(t, j, q.q), noIdentity); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	j.Stop()
	again := open(t, dir, Options{})
	if diff := cmp.Diff(want, readAll(t, again, Query{RunID: "r"}), noIdentity); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}

// TestCursorsHoldOverPagesAndRestarts reads in pages of every size while the journal grows and restarts.
func TestCursorsHoldOverPagesAndRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	var want, got []string
	var cursor Cursor
	for boot := range 4 {
		j := open(t, dir, Options{MaxBytes: 1 << 20})
		for range 40 {
			var batch []Entry
			for range rng.IntN(5) {
				text := fmt.Sprint("line ", len(want))
				want = append(want, text)
				batch = append(batch, line("run", "e", int64(rng.IntN(9)), text), line(fmt.Sprint("run", rng.IntN(40)), "x", 0, text))
			}
			must(t, j.Append(batch...))
			if rng.IntN(3) == 0 {
				must(t, j.Flush())
			}
			p, err := j.Query(Query{RunID: "run", After: cursor, Limit: 1 + rng.IntN(7)})
			must(t, err)
			got = append(got, texts(p.Entries)...)
			if p.Cursor != "" {
				cursor = p.Cursor
			}
		}
		must(t, j.Flush())
		if boot == 3 {
			got = append(got, texts(readAll(t, j, Query{RunID: "run", After: cursor, Limit: 3}))...)
		}
		j.Stop()
		j.Stop()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStartAndStopStates(t *testing.T) {
	t.Parallel()
	j, err := Open(t.TempDir(), quiet(), Options{})
	must(t, err)
	if err := j.Append(line("r", "e", 1, "x")); !errors.Is(err, ErrStopped) {
		t.Errorf("append before start: %v", err)
	}
	j.Stop()
	j.Stop()
	if err := j.Start(); err == nil {
		t.Error("started after stop")
	}
	if err := j.Flush(); !errors.Is(err, ErrStopped) {
		t.Errorf("flush after stop: %v", err)
	}
	k := open(t, t.TempDir(), Options{})
	if err := k.Append(Entry{}); err == nil {
		t.Error("an entry without a run was taken")
	}
	if _, err := k.Query(Query{RunID: "r", After: "?"}); !errors.Is(err, ErrBadCursor) {
		t.Errorf("bad cursor: %v", err)
	}
}

// TestOversizedEntryIsCut: one line cannot make a record that nobody may read.
func TestOversizedEntryIsCut(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{})
	big := line("r", "e", 1, strings.Repeat("\x01é", maxEntry))
	must(t, j.Append(line("r", "e", 0, "before"), big, line("r", "e", 2, "after")))
	must(t, j.Flush())
	got := readAll(t, j, Query{RunID: "r"})
	if len(got) != 3 || !strings.Contains(*got[1].Template, "[cut: the entry had") || *got[2].Template != "after" {
		t.Errorf("got %d entries", len(got))
	}
}

// TestCapDropsTheOldest: what remains is a contiguous end of the log.
func TestCapDropsTheOldest(t *testing.T) {
	t.Parallel()
	const limit = 256 << 10
	j := open(t, t.TempDir(), Options{MaxBytes: limit})
	n := 0
	must(t, j.Append(line("early", "e", 0, "in a shard that is written no more")))
	must(t, j.Flush())
	for range 300 {
		for range 10 {
			must(t, j.Append(line("run", "e", int64(n), fmt.Sprint(n, strings.Repeat(".", 200))), line(fmt.Sprint("r", n%50), "e", 0, "noise")))
			n++
		}
		must(t, j.Flush())
		if s := j.Stats(); s.Bytes > limit {
			t.Fatalf("%d bytes above the cap of %d", s.Bytes, limit)
		}
	}
	if shardOf("early") == shardOf("run") {
		t.Fatal("the test needs two shards")
	}
	if got := readAll(t, j, Query{RunID: "early"}); len(got) != 0 {
		t.Errorf("the oldest entry was kept: %v", texts(got))
	}
	got := readAll(t, j, Query{RunID: "run"})
	if len(got) == 0 || len(got) >= n || got[len(got)-1].Timestamp != int64(n-1) {
		t.Fatalf("kept %d of %d", len(got), n)
	}
	for i, e := range got {
		if e.Timestamp != got[0].Timestamp+int64(i) {
			t.Fatalf("a hole before %d", e.Timestamp)
		}
	}
	var onDisk int64
	must(t, filepath.Walk(j.dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && strings.HasSuffix(info.Name(), ".log") {
			onDisk += info.Size()
		}
		return err
	}))
	if s := j.Stats(); onDisk != s.Bytes || s.DroppedSegments == 0 {
		t.Errorf("on disk %d, counted %+v", onDisk, s)
	}
}

func TestSubscribersHearOfTheirRun(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{})
	mine, cancel := j.Subscribe("r")
	defer cancel()
	other, cancelOther := j.Subscribe("s")
	defer cancelOther()
	must(t, j.Append(line("r", "e", 1, "x")))
	<-mine
	if p, err := j.Query(Query{RunID: "r"}); err != nil || len(p.Entries) != 1 {
		t.Errorf("after the signal: %v %v", p, err)
	}
	select {
	case <-other:
		t.Error("a signal for another run")
	default:
	}
}

func BenchmarkAppend(b *testing.B) {
	j := open(b, b.TempDir(), Options{})
	e := line("run", "execution", 1, strings.Repeat("x", 80))
	b.ReportAllocs()
	for range b.N {
		if err := j.Append(e); err != nil {
			b.Fatal(err)
		}
	}
	must(b, j.Flush())
}
