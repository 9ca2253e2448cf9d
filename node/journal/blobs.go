package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// maxBlobKeys is how many keys a segment's index holds; a segment with more is read again by References.
const maxBlobKeys = 4096

// blobKeys are the blobs that the entries of a segment refer to.
type blobKeys struct {
	keys map[string]struct{}
	many bool // more than maxBlobKeys: keys is empty, the segment tells
}

func (b *blobKeys) add(keys []string) {
	for _, key := range keys {
		if b.many {
			return
		}
		if b.keys == nil {
			b.keys = map[string]struct{}{}
		}
		b.keys[key] = struct{}{}
		if len(b.keys) > maxBlobKeys {
			b.keys, b.many = nil, true
		}
	}
}

// References yields the key of each blob that an entry kept here refers to: values that are blobs, and what their
// references name (fragments). A key may come more than once. Entries that wait for the disk count too. After an error the
// keys are not complete: whoever collects blobs must then delete none.
func (j *Journal) References(yield func(key string)) error {
	// What waits comes first: an entry goes into its segment's index before it stops to wait.
	j.mu.Lock()
	waiting := make([]string, 0, len(j.waiting))
	for key := range j.waiting {
		waiting = append(waiting, key)
	}
	j.mu.Unlock()
	for _, key := range waiting {
		yield(key)
	}
	for s := range shards {
		if err := j.indexShard(s); err != nil {
			return err
		}
		keys, large := j.shardBlobs(s)
		for _, key := range keys {
			yield(key)
		}
		for _, path := range large {
			if err := readBlobs(path, yield); err != nil {
				return err
			}
		}
	}
	return nil
}

// shardBlobs copies what the indexes of a shard say, so that yield is called without a lock.
func (j *Journal) shardBlobs(shard int) (keys, large []string) {
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	for _, g := range j.shards[shard] {
		if g.blobs.many {
			large = append(large, g.path)
		}
		for key := range g.blobs.keys {
			keys = append(keys, key)
		}
	}
	return keys, large
}

func readBlobs(path string, yield func(key string)) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dropped meanwhile
	}
	if err != nil {
		return fmt.Errorf("cannot read log segment: %w", err)
	}
	scan(b, 0, func(r record) bool {
		for _, key := range blobsOfRecord(r.payload) {
			yield(key)
		}
		return true
	})
	return nil
}

// markers stand in the JSON of every entry that refers to a blob.
var markers = [][]byte{[]byte(`"blob"`), []byte(`"fragment"`)}

func mayHaveBlobs(text []byte) bool {
	return bytes.Contains(text, markers[0]) || bytes.Contains(text, markers[1])
}

// blobsOfRecord finds the keys in a record.
func blobsOfRecord(payload []byte) (keys []string) {
	if !mayHaveBlobs(payload) {
		return nil
	}
	var b struct {
		Entries []struct {
			Values map[string]Value `json:"values"`
		} `json:"entries"`
	}
	if json.Unmarshal(payload, &b) != nil {
		return nil // no query can read it either
	}
	for _, e := range b.Entries {
		keys = append(keys, blobsOf(e.Values)...)
	}
	return keys
}

// blobsOf finds the keys in the values of an entry.
func blobsOf(values map[string]Value) (keys []string) {
	for _, v := range values {
		if v.Type == "blob" && v.Key != "" {
			keys = append(keys, v.Key)
		}
		if !bytes.Contains(v.References, markers[1]) {
			continue
		}
		var refs []json.RawMessage
		if json.Unmarshal(v.References, &refs) != nil {
			continue // no list of references
		}
		for _, r := range refs {
			if key := fragmentBlob(r); key != "" {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// fragmentBlob is the key in ["fragment", format, key, size, metadata], empty for another reference.
func fragmentBlob(raw json.RawMessage) string {
	var kind, format, key string
	fields := []any{&kind, &format, &key}
	if json.Unmarshal(raw, &fields) != nil || kind != "fragment" {
		return ""
	}
	return key
}
