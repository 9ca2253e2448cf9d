package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node"
)

func environment(m map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) {
		v, ok := m[k]
		return v, ok
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "node.toml")
	text := "repo = [\"file.one\", \"file.two\"]\nname = \"file\"\nhttp-port = 1000\ngossip_port = 1001\npeer_port = 1002\nreload = true\ndrain_timeout = \"7s\"\nprovides = [\"gpu\", \"region:eu\"]\nkill_grace = \"5s\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSettings()
	err := s.parse([]string{"--http-port", "3000", "--join=a:1,b:2", "--join", "c:3"}, environment(map[string]string{
		"COFLUX_NODE_CONFIG": file, "COFLUX_NODE_HTTP_PORT": "2000", "COFLUX_NODE_GOSSIP_PORT": "2001",
		"COFLUX_NODE_INSECURE": "1", "COFLUX_NODE_PATH": "x,y", "COFLUX_NODE_NAME": "", "COFLUX_NODE_LIMIT": "memory=2G,cpu=60", "COFLUX_NODE_ACCEPTS": "disk:ssd,disk:nvme",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := node.Default()
	want.HTTPPort, want.GossipPort, want.PeerPort = 3000, 2001, 1002
	want.Join, want.Repos, want.Path = []string{"a:1", "b:2", "c:3"}, []string{"file.one", "file.two"}, []string{"x", "y"}
	want.Limits = []string{"memory=2G", "cpu=60"}
	want.KillGrace = 5 * time.Second
	want.Provides, want.Accepts = []string{"gpu", "region:eu"}, []string{"disk:ssd", "disk:nvme"}
	want.Name, want.Reload, want.Insecure, want.DrainTimeout = "file", true, true, 7*time.Second
	if diff := cmp.Diff(want, s.cfg, cmpopts.IgnoreUnexported(node.Config{})); diff != "" {
		t.Error(diff)
	}
}

// TestEveryFieldHasAFlag fails when a field of the configuration can not be set.
func TestEveryFieldHasAFlag(t *testing.T) {
	t.Parallel()
	s := newSettings()
	set := func(f *pflag.Flag) {
		for _, v := range []string{"7", fmt.Sprint(f.DefValue != "true"), "7s"} {
			if f.Value.Set(v) == nil {
				return
			}
		}
	}
	for _, g := range s.groups {
		g.flags.VisitAll(set)
	}
	before, after := reflect.ValueOf(node.Default()), reflect.ValueOf(s.cfg)
	for i := range after.NumField() {
		field := after.Type().Field(i)
		name := field.Name
		if name == "Version" || !field.IsExported() {
			continue
		}
		if reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
			t.Errorf("no flag sets %s", name)
		}
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	got := commandLine("coflux-node", []string{"--path", "my dir", "--name=it's", "", "--join", "a:1"})
	if want := `coflux-node --path 'my dir' '--name=it'\''s' '' --join a:1`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
