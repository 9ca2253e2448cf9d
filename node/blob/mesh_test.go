package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	errAway = errors.New("connection refused")
	errHang = errors.New("does not answer")
	errGone = errors.New("gone")
	errEvil = errors.New("gives wrong bytes")
	errSlow = errors.New("gives a byte every two seconds")
)

// fakeMesh is a set of local stores whose nodes can be made to fail.
type fakeMesh struct {
	t      *testing.T
	mu     sync.Mutex
	stores map[string]*Local
	fault  map[string]error
	gets   int
	voters int
}

func newMesh(t *testing.T, n int) *fakeMesh {
	m := &fakeMesh{t: t, stores: map[string]*Local{}, fault: map[string]error{}, voters: 1}
	for i := range n {
		m.stores[fmt.Sprint("n", i)] = local(t)
	}
	return m
}

func (m *fakeMesh) set(node string, fault error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault[node] = fault
}

func (m *fakeMesh) store(self string) *Mesh { return NewMesh(self, m.stores[self], m, quiet()) }

// on lists the nodes that have a good copy.
func (m *fakeMesh) on(key string) []string {
	var out []string
	for _, n := range slices.Sorted(maps.Keys(m.stores)) {
		if m.stores[n].verify(context.Background(), key) == nil {
			out = append(out, n)
		}
	}
	return out
}

func (m *fakeMesh) Live() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for n := range m.stores {
		if m.fault[n] != errGone {
			out = append(out, n)
		}
	}
	return out
}

func (m *fakeMesh) VotersMajority() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.voters
}

func (m *fakeMesh) reach(ctx context.Context, node string) (*Local, error) {
	m.mu.Lock()
	fault := m.fault[node]
	m.mu.Unlock()
	switch {
	case fault == errHang:
		<-ctx.Done()
		return nil, ctx.Err()
	case fault != nil && fault != errEvil && fault != errSlow:
		return nil, fault
	}
	return m.stores[node], nil
}

func (m *fakeMesh) Put(ctx context.Context, node, key string, open func() (io.ReadCloser, error)) error {
	l, err := m.reach(ctx, node)
	if err != nil {
		return err
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	return l.PutKey(ctx, key, r)
}

func (m *fakeMesh) Get(ctx context.Context, node, key string) (io.ReadCloser, error) {
	m.mu.Lock()
	m.gets++
	evil, slow := m.fault[node] == errEvil, m.fault[node] == errSlow
	m.mu.Unlock()
	l, err := m.reach(ctx, node)
	if err != nil {
		return nil, err
	}
	r, _, err := l.Open(ctx, key)
	if evil && err == nil {
		return io.NopCloser(io.MultiReader(strings.NewReader("!"), r)), nil
	}
	if slow && err == nil {
		return trickle{ctx, r}, nil
	}
	return r, err
}

type trickle struct {
	ctx context.Context
	io.ReadCloser
}

func (r trickle) Read(b []byte) (int, error) {
	if !pause(r.ctx, 2*time.Second) {
		return 0, r.ctx.Err()
	}
	return r.ReadCloser.Read(b[:min(1, len(b))])
}

// TestTransferThatMovesIsNotCutOff, however long it takes.
func TestTransferThatMovesIsNotCutOff(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 2)
	content := []byte("more than half a minute")
	key := KeyOf(content)
	must(t, m.stores["n1"].PutKey(t.Context(), key, bytes.NewReader(content)))
	m.set("n1", errSlow)
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		got, err := Content(t.Context(), m.store("n0"), key, 100)
		if took := time.Since(begin); err != nil || !bytes.Equal(got, content) || took < fetchFor {
			t.Errorf("%q %v after %s", got, err, took)
		}
	})
}

func TestCopiesAreOnTheHolders(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 6)
	for i := range 20 {
		key, _, err := m.store("n0").Put(t.Context(), strings.NewReader(fmt.Sprint("content ", i)))
		must(t, err)
		want := Rank(key, m.Live())[:3]
		if !slices.Contains(want, "n0") {
			want = append(want, "n0")
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, m.on(key)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestNumberOfCopies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ live, majority, want int }{
		{1, 0, 1}, {1, 1, 1}, {2, 1, 2}, {2, 2, 2}, {3, 2, 3}, {7, 3, 3}, {7, 4, 4}, {1, 2, 2}, {2, 3, 3},
	} {
		if got := needed(c.live, c.majority); got != c.want {
			t.Errorf("%d live, majority %d: %d copies, want %d", c.live, c.majority, got, c.want)
		}
	}
}

// TestRankMovesLittle: a node more or less moves only its own share.
func TestRankMovesLittle(t *testing.T) {
	t.Parallel()
	nodes := []string{"a", "b", "c", "d", "e"}
	first := map[string]int{}
	for i := range 2000 {
		key := KeyOf(fmt.Append(nil, i))
		all := Rank(key, nodes)
		first[all[0]]++
		without := Rank(key, []string{"e", "d", "b", "a"})
		if diff := cmp.Diff(slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == "c" }), without); diff != "" {
			t.Fatal(diff)
		}
	}
	for n, count := range first {
		if count < 300 || count > 500 {
			t.Errorf("%s holds %d of 2000", n, count)
		}
	}
}

// TestDeadNodeDoesNotStopWrites: three nodes, one is gone, two are a majority.
func TestDeadNodeDoesNotStopWrites(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	m.voters = 2
	m.set("n2", errGone)
	key, _, err := m.store("n0").Put(t.Context(), strings.NewReader("content"))
	must(t, err)
	if diff := cmp.Diff([]string{"n0", "n1"}, m.on(key)); diff != "" {
		t.Error(diff)
	}
}

// TestBelowMajorityWaitsAndSaysWhy, then goes on when a node is back.
func TestBelowMajorityWaitsAndSaysWhy(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	m.voters = 2
	m.set("n1", errGone)
	m.set("n2", errAway)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _, err := m.store("n0").Put(ctx, strings.NewReader("content"))
		if !errors.Is(err, ErrShort) || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errAway) ||
			!strings.Contains(err.Error(), "is on 1 of 2 nodes") || !strings.Contains(err.Error(), "node n2") {
			t.Errorf("got %v", err)
		}
		time.AfterFunc(time.Hour, func() { m.set("n2", nil) })
		begin := time.Now()
		key, _, err := m.store("n0").Put(t.Context(), strings.NewReader("content"))
		must(t, err)
		if took := time.Since(begin); took < time.Hour || took > time.Hour+5*time.Second {
			t.Errorf("went on after %s", took)
		}
		if diff := cmp.Diff([]string{"n0", "n2"}, m.on(key)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestSlowNodeIsNotWaitedFor: a holder hangs; with more nodes another takes the copy, with three its death does.
func TestSlowNodeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 6} {
		m := newMesh(t, n)
		content := "content"
		hanging := Rank(KeyOf([]byte(content)), m.Live())[0]
		writer := Rank(KeyOf([]byte(content)), m.Live())[1]
		m.voters = 2
		m.set(hanging, errHang)
		synctest.Test(t, func(t *testing.T) {
			gone := time.AfterFunc(1200*time.Millisecond, func() { m.set(hanging, errGone) })
			defer gone.Stop()
			begin := time.Now()
			key, _, err := m.store(writer).Put(t.Context(), strings.NewReader(content))
			must(t, err)
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("%d nodes: put took %s", n, took)
			}
			if got := m.on(key); len(got) != min(3, n-1) {
				t.Errorf("%d nodes: copies on %v", n, got)
			}
		})
	}
}

// TestReadFromWhoeverHasIt: holders are away, hang or lie, an unlikely node has the copy.
func TestReadFromWhoeverHasIt(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 6)
	content := []byte("content")
	key := KeyOf(content)
	order := Rank(key, m.Live())
	last, reader := order[5], order[4]
	must(t, m.stores[last].PutKey(t.Context(), key, bytes.NewReader(content)))
	must(t, m.stores[order[2]].PutKey(t.Context(), key, bytes.NewReader(content)))
	m.set(order[0], errAway)
	m.set(order[1], errHang)
	m.set(order[2], errEvil)
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		got, err := Content(t.Context(), m.store(reader), key, 100)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%q %v", got, err)
		}
		if took := time.Since(begin); took > patience+time.Second {
			t.Errorf("read after %s", took)
		}
		if !slices.Contains(m.on(key), reader) {
			t.Error("the fetched copy was not kept")
		}
		path, err := m.store(reader).Path(t.Context(), key)
		must(t, err)
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%q %v", b, err)
		}
	})
}

// TestMissingHolderIsTriedForHalfAMinute before anything is given up.
func TestMissingHolderIsTriedForHalfAMinute(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	content := []byte("content")
	key := KeyOf(content)
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, _, err := m.store("n0").Open(t.Context(), key)
		if took := time.Since(begin); !errors.Is(err, ErrNotFound) || took != fetchFor || !strings.Contains(err.Error(), "blob not found: "+key) {
			t.Errorf("%v after %s", err, took)
		}
		m.set("n1", errAway)
		if _, _, err = m.store("n0").Open(t.Context(), key); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotFound) {
			t.Errorf("with a node away: %v", err)
		}
		must(t, m.stores["n1"].PutKey(t.Context(), key, bytes.NewReader(content)))
		time.AfterFunc(20*time.Second, func() { m.set("n1", nil) })
		begin = time.Now()
		got, err := Content(t.Context(), m.store("n0"), key, 100)
		if took := time.Since(begin); err != nil || !bytes.Equal(got, content) || took < 20*time.Second || took > 23*time.Second {
			t.Errorf("%q %v after %s", got, err, took)
		}
	})
}

// TestOneFetchForManyReaders, and a caller that gives up does not take the others with it.
func TestOneFetchForManyReaders(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 2)
	content := []byte("content")
	key := KeyOf(content)
	must(t, m.stores["n1"].PutKey(t.Context(), key, bytes.NewReader(content)))
	synctest.Test(t, func(t *testing.T) {
		m.set("n1", errAway)
		s := m.store("n0")
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := s.Open(short, key); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the impatient one: %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() {
				if got, err := Content(t.Context(), s, key, 100); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%q %v", got, err)
				}
			})
		}
		time.AfterFunc(5*time.Second, func() { m.set("n1", nil) })
		wg.Wait()
		if m.gets > 20 {
			t.Errorf("%d requests for one blob", m.gets)
		}
	})
}

// TestDamagedCopyIsHealedFromOthers on the way of a read.
func TestDamagedCopyIsHealedFromOthers(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 3)
	content := []byte("content")
	key, _, err := m.store("n0").Put(t.Context(), bytes.NewReader(content))
	must(t, err)
	path, err := m.stores["n0"].Path(t.Context(), key)
	must(t, err)
	must(t, os.Chmod(path, 0o600))
	must(t, os.WriteFile(path, []byte("damaged"), 0o600))
	got, err := Content(t.Context(), m.store("n0"), key, 100)
	if err != nil || !bytes.Equal(got, content) || len(m.on(key)) != 3 {
		t.Errorf("%q %v, on %v", got, err, m.on(key))
	}
}
