package journal

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// segmentFile returns the only segment that holds bytes.
func segmentFile(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("want one segment, got %v", files)
	}
	return files[0]
}

// fill writes n records of one entry each.
func fill(t *testing.T, dir string, n int) (file string, whole []byte, ends []int) {
	t.Helper()
	j, err := Open(dir, quiet(), Options{})
	must(t, err)
	must(t, j.Start())
	for i := range n {
		must(t, j.Append(line("r", "e", int64(i), fmt.Sprint("line ", i))))
		must(t, j.Flush())
		ends = append(ends, int(j.Stats().Bytes))
	}
	j.Stop()
	file = segmentFile(t, dir)
	whole, err = os.ReadFile(file)
	must(t, err)
	return file, whole, ends
}

func TestTornTailIsCutAtEveryByte(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, whole, ends := fill(t, dir, 4)
	for cut := len(whole) - 1; cut >= 0; cut-- {
		must(t, os.WriteFile(file, whole[:cut], 0o600))
		kept := 0
		for kept < len(ends) && ends[kept] <= cut {
			kept++
		}
		j, err := Open(dir, quiet(), Options{})
		must(t, err)
		got := readAll(t, j, Query{RunID: "r"})
		if len(got) != kept {
			t.Fatalf("cut at %d: %d entries, want %d", cut, len(got), kept)
		}
		info, err := os.Stat(file)
		must(t, err)
		if kept > 0 && int(info.Size()) != ends[kept-1] {
			t.Fatalf("cut at %d: the file has %d bytes", cut, info.Size())
		}
		if d := j.Stats().Damaged; d != 0 {
			t.Fatalf("cut at %d: a torn tail counts as %d damages", cut, d)
		}
		j.Stop()
	}
}

func TestDamagedRecordIsSkippedAndCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, whole, ends := fill(t, dir, 4)
	for at := ends[0]; at < ends[1]; at++ { // every byte of the second record
		bad := append([]byte(nil), whole...)
		bad[at] ^= 0x10
		must(t, os.WriteFile(file, bad, 0o600))
		j, err := Open(dir, quiet(), Options{})
		must(t, err)
		if diff := cmp.Diff([]string{"line 0", "line 2", "line 3"}, texts(readAll(t, j, Query{RunID: "r"}))); diff != "" {
			t.Fatalf("flip at %d: %s", at, diff)
		}
		if d := j.Stats().Damaged; d != 1 {
			t.Fatalf("flip at %d: counted %d damages", at, d)
		}
		j.Stop()
	}
}

// writeForEver is the process that the next test kills: it says what it has flushed.
func writeForEver(dir string) {
	j, err := Open(dir, quiet(), Options{})
	if err == nil {
		err = j.Start()
	}
	for i := 0; err == nil; i++ {
		if err = j.Append(line("r", "e", int64(i), fmt.Sprint("line ", i))); err == nil && i%7 == 0 {
			if err = j.Flush(); err == nil {
				_, err = fmt.Println(i)
			}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

func TestFlushedEntriesSurviveKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "JOURNAL_TEST_WRITER="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		flushed := -1
		for range 50 * (round + 1) {
			if !lines.Scan() {
				t.Fatal("the writer ended")
			}
			_, err := fmt.Sscan(lines.Text(), &flushed)
			must(t, err)
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		j, err := Open(dir, quiet(), Options{})
		must(t, err)
		got := readAll(t, j, Query{RunID: "r"})
		j.Stop()
		want := 0
		for _, e := range got {
			if e.Timestamp == 0 {
				want = 0 // the next process began
			}
			if e.Timestamp != int64(want) {
				t.Fatalf("round %d: line %d where %d belongs", round, e.Timestamp, want)
			}
			want++
		}
		if want <= flushed {
			t.Fatalf("round %d: %d lines, but line %d was flushed", round, want, flushed)
		}
	}
}

// TestFailedWriteIsRepeated: half a record is written, then the disk works again.
func TestFailedWriteIsRepeated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := Open(dir, quiet(), Options{})
	must(t, err)
	calls := 0
	j.write = func(f *os.File, b []byte) (int, error) {
		if calls++; calls == 1 || calls == 3 || calls == 4 {
			n, _ := f.Write(b[:len(b)/2])
			return n, errors.New("no space left on device")
		}
		return f.Write(b)
	}
	must(t, j.Start())
	t.Cleanup(j.Stop)
	for i := range 3 {
		must(t, j.Append(line("r", "e", int64(i), fmt.Sprint("line ", i))))
		for j.Flush() != nil {
			continue
		}
	}
	want := []string{"line 0", "line 1", "line 2"}
	if diff := cmp.Diff(want, texts(readAll(t, j, Query{RunID: "r"}))); diff != "" {
		t.Error(diff)
	}
	j.Stop()
	again := open(t, dir, Options{})
	if diff := cmp.Diff(want, texts(readAll(t, again, Query{RunID: "r"}))); diff != "" {
		t.Error(diff)
	}
}

// TestStallBlocksTenSecondsThenLeavesAGap with a disk that hangs.
func TestStallBlocksTenSecondsThenLeavesAGap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j, err := Open(dir, quiet(), Options{MaxPending: 4096})
		must(t, err)
		thaw := make(chan struct{})
		j.write = func(f *os.File, b []byte) (int, error) {
			<-thaw
			return f.Write(b)
		}
		must(t, j.Start())
		defer j.Stop()
		text := strings.Repeat("x", 1000)
		taken, dropped := 0, 0
		var slowest time.Duration
		for taken+dropped < 20 {
			begin := time.Now()
			err := j.Append(line("r", "e", int64(taken), text))
			slowest = max(slowest, time.Since(begin))
			switch {
			case err == nil && dropped == 0:
				taken++
			case errors.Is(err, ErrGap):
				dropped++
			default:
				t.Fatalf("append: %v after %d taken, %d dropped", err, taken, dropped)
			}
		}
		if slowest != 10*time.Second || taken == 0 || dropped == 0 {
			t.Errorf("slowest append %s, %d taken, %d dropped", slowest, taken, dropped)
		}
		close(thaw)
		must(t, j.Flush())
		must(t, j.Append(line("r", "e", 99, "after")))
		must(t, j.Flush())
		got := readAll(t, j, Query{RunID: "r"})
		if len(got) != taken+2 {
			t.Fatalf("%d entries, want %d and a gap and one more", len(got), taken)
		}
		gap := got[taken]
		if gap.Level != levelWarning || string(gap.Values["count"].Data) != fmt.Sprint(dropped) || gap.ExecutionID != "e" {
			t.Errorf("the gap says %+v", gap)
		}
		if *got[taken+1].Template != "after" || j.Stats().DroppedEntries != int64(dropped) {
			t.Errorf("after the gap: %+v %+v", got[taken+1], j.Stats())
		}
	})
}

func TestWrittenWithinFiftyMilliseconds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		j, err := Open(dir, quiet(), Options{})
		must(t, err)
		must(t, j.Start())
		defer j.Stop()
		heard, cancel := j.Subscribe("r")
		defer cancel()
		begin := time.Now()
		must(t, j.Append(line("r", "e", 1, "x")))
		<-heard
		if took := time.Since(begin); took > 50*time.Millisecond {
			t.Errorf("written after %s", took)
		}
	})
}

func FuzzForeignBytes(f *testing.F) {
	rec, err := appendRecord(nil, "r", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(rec)
	f.Add(append([]byte("CJR1\xff\xff\xff\xff junk"), rec...))
	f.Add([]byte("eyJhIjp7InMiOjF9fQ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end, _ := scan(b, 0, func(r record) bool {
			_, _ = entriesOf(r, "r")
			return true
		})
		if end < 0 || end > int64(len(b)) {
			t.Errorf("end %d of %d", end, len(b))
		}
		if m, err := Cursor(b).decode(); err == nil {
			if back, err := m.encode().decode(); err != nil || !cmp.Equal(m, back) {
				t.Errorf("cursor %v came back as %v: %v", m, back, err)
			}
		}
	})
}
