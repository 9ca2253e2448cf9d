package memnet

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestCutKeepsWhatIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New()
		ln, err := n.Host("a").Listen("")
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.Host("b").Dial(t.Context(), ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		n.Cut("b", "a", true)
		io.WriteString(c, "late")
		s.SetReadDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 8)
		if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a read through a cut: %v", err)
		}
		s.SetReadDeadline(time.Time{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host("b").Dial(ctx, ln.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a dial through a cut: %v", err)
		}
		n.Cut("b", "a", false)
		if k, err := s.Read(buf); err != nil || string(buf[:k]) != "late" {
			t.Fatalf("%q, %v", buf[:k], err)
		}
		c.Close()
		if _, err := s.Read(buf); err != io.EOF {
			t.Fatalf("after the end: %v", err)
		}
		s.Close()
		n.Kill("a")
		if _, err := ln.Accept(); err == nil {
			t.Fatal("a dead host accepts")
		}
		if _, err := n.Host("b").Dial(t.Context(), ln.Addr().String()); err == nil {
			t.Fatal("a dead host is reached")
		}
	})
}
