package consensus

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// Whatever arrives on a peer port is refused or read; nothing panics and nothing large is made of little.
func FuzzReadFrame(f *testing.F) {
	var good bytes.Buffer
	if err := writeFrame(&good, question{Kind: askPromise, Cluster: "c", From: "a", To: "b", Expect: 3}); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var q question
		if err := readFrame(bytes.NewReader(raw), &q); err != nil {
			return
		}
		var buf bytes.Buffer
		if err := writeFrame(&buf, q); err != nil {
			return // escapes made it longer than a frame may be
		}
		var again question
		if err := readFrame(&buf, &again); err != nil || again != q {
			t.Fatalf("%+v became %+v, %v", q, again, err)
		}
		var a answer
		readFrame(bytes.NewReader(raw), &a)
	})
}

// The pages of any file are refused or walked; nothing panics.
func FuzzCheckBolt(f *testing.F) {
	file := filepath.Join(f.TempDir(), "log.db")
	bolt, err := openBolt(file)
	if err == nil {
		err = errors.Join(bolt.StoreLog(&raft.Log{Index: 1, Data: make([]byte, 5000)}), bolt.Set([]byte("k"), []byte("v")), bolt.Close())
	}
	if err == nil {
		err = checkBolt(file)
	}
	raw, readErr := os.ReadFile(file)
	if err := errors.Join(err, readErr); err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(make([]byte, 8192))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		c := &boltCheck{raw: raw, seen: map[uint64]bool{}}
		if root, err := c.metas(); err == nil {
			c.page(root, nil, nil)
		}
	})
}
