package consensus

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/coflux-mesh/coflux/consensus/memnet"
)

func newTestMux(t *testing.T, n Network) *Mux {
	t.Helper()
	ln, err := n.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMux(ln, hclog.NewNullLogger())
	m.Start()
	return m
}

func TestHTTPThroughTheMux(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		m := newTestMux(t, n.Host("a"))
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") })}
		done := make(chan struct{})
		go func() { defer close(done); srv.Serve(m.HTTP()) }()
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return DialHTTP(ctx, n.Host("b"), m.Addr().String())
		}}}
		for range 2 {
			resp, err := client.Get("http://a/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(body) != "here" {
				t.Fatalf("%q, %v", body, err)
			}
		}
		client.CloseIdleConnections()
		srv.Close()
		m.Stop()
		m.Stop()
		<-done
	})
}

func TestMuxClosesStrangers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		m := newTestMux(t, n.Host("a"))
		defer m.Stop()
		for name, greeting := range map[string]string{"an unknown first byte": "G", "silence": ""} {
			c, err := n.Host("b").Dial(t.Context(), m.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, greeting); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("%s: %v, want the end", name, err)
			}
			if waited := time.Since(begin); waited > firstByteTimeout || (greeting == "" && waited < firstByteTimeout) {
				t.Fatalf("%s: the end came after %v", name, waited)
			}
			c.Close()
		}
	})
}

// A frame that is too long, or is none, ends the connection and nothing else.
func TestAnswererSurvivesNonsense(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t)
		defer c.stop()
		c.grow(1)
		for _, bytes := range []string{"\xff\xff\xff\xff", "\x00\x00\x00\x05hello", "\x00\x00\x00\x02{}"} {
			conn, err := dialTagged(t.Context(), c.net.Host("x"), c.nodes[0].addr, tagQuestion)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, bytes)
			if bytes[3] != 2 {
				if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
					t.Fatalf("%q: %v", bytes, err)
				}
			} else {
				var a answer
				if err := readFrame(conn, &a); err != nil || a.Err == "" {
					t.Fatalf("%q: %+v, %v", bytes, a, err)
				}
			}
			conn.Close()
		}
		c.write("a")
	})
}
