package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// blobFile is where a node keeps a blob.
func (n *node) blobFile(key string) string {
	return filepath.Join(n.dir, "blobs", key[:2], key[2:4], key[4:])
}

// randomFile makes a file of which nobody has a part yet; it gives its key.
func randomFile(t *testing.T, path string, mib int) (key string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	random, sum, block := rand.NewChaCha8([32]byte{byte(mib)}), sha256.New(), make([]byte, 1<<20)
	for range mib {
		_, _ = random.Read(block) // never fails
		_, _ = sum.Write(block)
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// TestBlobFaults has a holder killed while a file is copied to it, and a writer while it writes; bits that rot on a holder are never
// given out.
func TestBlobFaults(t *testing.T) {
	slow(t)
	t.Parallel()
	m := startMesh(t, 3)
	n1, n2, n3 := m.nodes[0], m.nodes[1], m.nodes[2]
	file := filepath.Join(t.TempDir(), "file")

	// A holder that dies in the middle: the others have it, and it is complete.
	key := randomFile(t, file, 150)
	put := n1.cliStarted("blobs", "put", file)
	n2.writing()
	n2.killed()
	if o := put(); o.status != 0 || o.stdout != key+"\n" {
		t.Error(o)
	}
	n3.same(key, file)
	n2.start()
	m.ready()
	n2.same(key, file)

	// The writer dies in the middle: nobody has a part of it; once more gives the whole.
	key = randomFile(t, file, 151)
	put = n1.cliStarted("blobs", "put", file)
	n1.writing()
	n1.killed()
	if o := put(); o.status == 0 {
		t.Errorf("stored by a node that was killed: %s", o)
	}
	for _, n := range m.others(n1) {
		if info, err := os.Stat(n.blobFile(key)); err == nil && info.Size() != 151<<20 {
			t.Errorf("%s has %d bytes of it", n.name, info.Size())
		}
	}
	n1.start()
	m.ready()
	if left, _ := filepath.Glob(filepath.Join(n1.dir, "blobs", "tmp", "*")); len(left) > 0 {
		t.Errorf("what was half written stays: %v", left)
	}
	n1.said("^"+key, "blobs", "put", file)

	// Bits that rot: what is given is whole, and the copy too afterwards.
	for _, n := range m.nodes {
		path := n.blobFile(key)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rotten := bytes.Clone(whole)
		rotten[len(rotten)/2] ^= 1
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, rotten, 0o600)); err != nil {
			t.Fatal(err)
		}
		n.same(key, file)
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, whole) {
			t.Errorf("%s was not mended: %v", n.name, err)
		}
	}
}

// writing waits until a node has begun to write a blob.
func (n *node) writing() {
	n.m.t.Helper()
	await(n.m.t, patience, func() string {
		files, _ := filepath.Glob(filepath.Join(n.dir, "blobs", "tmp", "*"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.Size() > 8<<20 {
				return ""
			}
		}
		return n.name + " is not written to"
	})
}

// same holds what a node gives against a file.
func (n *node) same(key, file string) {
	n.m.t.Helper()
	got := filepath.Join(n.m.t.TempDir(), "got")
	if o := n.cli("blobs", "get", key, "-o", got); o.status != 0 {
		n.m.t.Errorf("%s: %s", n.name, o)
		return
	}
	a, errA := os.ReadFile(got)
	b, errB := os.ReadFile(file)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		n.m.t.Errorf("%s gives other bytes: %v %v", n.name, errA, errB)
	}
}

// cliStarted begins a command and gives a function that waits for its end.
func (n *node) cliStarted(args ...string) func() output {
	done := make(chan output, 1)
	go func() {
		done <- exe(n.m.t, n.m.dir, []string{"COFLUX_HOST=" + n.host()}, patience, "coflux", args...)
	}()
	return func() output {
		select {
		case o := <-done:
			return o
		case <-time.After(patience):
			n.m.t.Errorf("coflux %v does not end", args)
			return output{}
		}
	}
}
