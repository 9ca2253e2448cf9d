package journal

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func referred(t *testing.T, j *Journal) []string {
	t.Helper()
	seen := map[string]bool{}
	must(t, j.References(func(key string) { seen[key] = true }))
	var keys []string
	for key := range seen {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func withBlob(run, key, fragment string) Entry {
	e := line(run, "e", 1, "see {x}")
	e.Values = map[string]Value{
		"x": {Type: "blob", Key: key, Size: 9, References: json.RawMessage(`[["execution","r:1:1","m","t"]]`)},
		"y": {Type: "raw", Data: json.RawMessage(`"blob"`), References: json.RawMessage(fmt.Sprintf(`[["fragment","pickle",%q,3,{"n":1}]]`, fragment))},
	}
	return e
}

func TestReferencesNameWhatEntriesNeed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	must(t, j.Append(line("r", "e", 1, "plain"), withBlob("r", "b1", "f1"), withBlob("other", "b2", "f2")))
	want := []string{"b1", "b2", "f1", "f2"}
	if diff := cmp.Diff(want, referred(t, j)); diff != "" {
		t.Errorf("before they are written: %s", diff)
	}
	must(t, j.Flush())
	if diff := cmp.Diff(want, referred(t, j)); diff != "" {
		t.Error(diff)
	}
	if len(j.waiting) != 0 {
		t.Errorf("written entries still wait: %v", j.waiting)
	}
	j.Stop()
	again := open(t, dir, Options{})
	if diff := cmp.Diff(want, referred(t, again)); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}

// TestReferencesOfSegmentsWithManyBlobs: what the index does not hold is read from the file.
func TestReferencesOfSegmentsWithManyBlobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	for i := range maxBlobKeys {
		must(t, j.Append(withBlob("r", fmt.Sprint("b", i), fmt.Sprint("f", i))))
	}
	must(t, j.Flush())
	if got := len(referred(t, j)); got != 2*maxBlobKeys {
		t.Errorf("%d keys", got)
	}
	j.Stop()
	if got := len(referred(t, open(t, dir, Options{}))); got != 2*maxBlobKeys {
		t.Errorf("%d keys after a restart", got)
	}
}

// TestReferencesFailRatherThanForget: an unreadable segment must not look like one without blobs.
func TestReferencesFailRatherThanForget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir, Options{})
	must(t, j.Append(withBlob("r", "b", "f")))
	j.Stop()
	first := segmentFile(t, dir)
	j = open(t, dir, Options{})
	must(t, j.Append(withBlob("r", "b2", "f2"))) // so that the first is no tail that Open reads
	j.Stop()
	again := open(t, dir, Options{})
	must(t, os.Remove(first))
	must(t, os.Mkdir(first, 0o700))
	if err := again.References(func(string) {}); err == nil {
		t.Error("keys that could not be read were passed over")
	}
}

// TestReferencesEndWithTheirSegments: what the cap has dropped needs no blob.
func TestReferencesEndWithTheirSegments(t *testing.T) {
	t.Parallel()
	j := open(t, t.TempDir(), Options{MaxBytes: 64 << 10})
	must(t, j.Append(withBlob("r", "first", "f")))
	for i := range 2000 {
		must(t, j.Append(withBlob("r", fmt.Sprint("b", i), fmt.Sprint("f", i))))
		if i%10 == 0 {
			must(t, j.Flush())
		}
	}
	must(t, j.Flush())
	keys := referred(t, j)
	if slices.Contains(keys, "first") || !slices.Contains(keys, "b1999") || len(keys) > 2000 {
		t.Errorf("%d keys are referred to", len(keys))
	}
}
