package node

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// A module with an environment of its own runs in that; what Python is bound by comes from the configuration too.
func TestEnvironmentAndLimits(t *testing.T) {
	t.Parallel()
	dir := module(t, "own", "import resource, sys\nfrom coflux import workflow\n\n@workflow()\ndef about():\n    return [sys.prefix, resource.getrlimit(resource.RLIMIT_NOFILE)[0]]\n")
	env := filepath.Join(dir, "env")
	if out, err := exec.Command("python3", "-m", "venv", "--without-pip", env).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n := startNode(t, "one", func(c *Config) {
		c.Repos, c.Path, c.Limits = []string{"own@" + env}, []string{dir}, []string{"files=300"}
	})
	r := submit(t, n, "own", "about")
	if want := `["` + env + `",300]`; r.Type != state.ResultValue || strings.ReplaceAll(string(r.Value.Data), " ", "") != want {
		t.Errorf("%v %+v %s, want %s", r.Type, r.Error, r.Value.Data, want)
	}
}
