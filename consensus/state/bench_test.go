package state

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkPackedRuns measures what a million finished runs that are packed cost: heap and snapshot, per run, and the time to restore.
//
//	go test ./consensus/state -run xxx -bench PackedRuns -benchtime 1x
func BenchmarkPackedRuns(b *testing.B) {
	const packs, each = 1000, 1000
	before := heap()
	s := New()
	for i := range packs {
		ids := make([]string, each)
		for k := range ids {
			ids[k] = fmt.Sprintf("R%06x", (i*each+k)*7919%0xffffff)
		}
		row := &Pack{ID: fmt.Sprintf("P%026d", i), Workspace: "Wabcd", BlobKey: fmt.Sprintf("%064x", i), RefsKey: fmt.Sprintf("%064x", i), Size: 1 << 18,
			First: int64(i), Last: int64(i + 1), Runs: Lines(ids...), Targets: []string{"module/workflow"}}
		scratch := s.Scratch()
		if err := scratch.Try(func(tx *Tx) error { tx.Put(row); return nil }); err != nil {
			b.Fatal(err)
		}
		data, err := scratch.Entry(int64(i)).Encode()
		if err == nil {
			err = s.Apply(data)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	held := float64(heap()-before) / (packs * each)
	var snapshot bytes.Buffer
	if _, err := s.Freeze().WriteTo(&snapshot); err != nil {
		b.Fatal(err)
	}
	v := s.View()
	b.Run("restore", func(b *testing.B) {
		for range b.N {
			if err := New().Restore(bytes.NewReader(snapshot.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(held, "heap-B/run")
		b.ReportMetric(float64(snapshot.Len())/(packs*each), "snapshot-B/run")
	})
	b.Run("find", func(b *testing.B) {
		for i := range b.N {
			if v.Packed(fmt.Sprintf("R%06x", (i%(packs*each)*7919)%0xffffff)) == nil {
				b.Fatal("a run is not found")
			}
		}
	})
	b.Run("find none", func(b *testing.B) {
		for range b.N {
			if v.Packed("Rnobody") != nil {
				b.Fatal("found")
			}
		}
	})
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
