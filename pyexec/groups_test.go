package pyexec

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// needGroups skips where the kernel, or who runs the tests, lets no control groups be made. COFLUX_TEST_GROUPS=must forbids it.
func needGroups(t *testing.T) groups {
	t.Helper()
	g := openGroups()
	if g.dir == "" {
		if os.Getenv("COFLUX_TEST_GROUPS") == "must" {
			t.Fatal(g.why)
		}
		t.Skip("no control groups can be made here: " + g.why)
	}
	return g
}

// What the processes of an execution use together is bounded, wherever they have gone to.
func TestMemoryOfAllTogether(t *testing.T) {
	needGroups(t)
	bothWays(t, memoryOfAllTogether)
}

func memoryOfAllTogether(t *testing.T, way func(*Config)) {
	e := newEngine(t, func(c *Config) { way(c); c.Modules = []string{"limited"} })
	if e.pool.code.generation == 0 { // limits of targets are known from then on
		if _, err := e.pool.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		processes, size int
		want            string
	}{
		{2, 20, `terminated ["has it\n","has it\n"]`},
		{4, 60, "terminated internal EOF: the process ended without a result (killed by signal 9, killed: with all that it had started it has used more memory than its limit of 128 MiB)"},
	} {
		h := e.start(Job{Module: "limited", Target: "spreads", Arguments: []Value{Inline([]byte(strconv.Itoa(c.processes))), Inline([]byte(strconv.Itoa(c.size)))}})
		if got := h.wait(t).ends(); got != c.want {
			t.Errorf("%d times %d MiB: %s\nwant %s", c.processes, c.size, got, c.want)
		}
	}
	if left := e.groups(); len(left) > 0 {
		t.Errorf("control groups are left: %v", left)
	}
}

// groups are the control groups of the engine's executors.
func (e *engine) groups() []string {
	left, err := filepath.Glob(filepath.Join(e.pool.groups.dir, strings.TrimSuffix(groupName(e.pool.cfg.Boot, 0), "0")+"*"))
	if err != nil {
		e.t.Fatal(err)
	}
	return left
}

// What an earlier node has left is removed, what is in use is not.
func TestLeftGroups(t *testing.T) {
	g := needGroups(t)
	old, used := filepath.Join(g.dir, groupPrefix+"-old-1"), filepath.Join(g.dir, groupPrefix+"-used-1")
	for _, dir := range []string{old, used} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inGroup(t, used, "sleep", "1000")
	g.sweep()
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old group is still there: %v", err)
	}
	if _, err := os.Stat(used); err != nil {
		t.Error(err)
	}
}

// inGroup starts a process in a control group; it ends with the test, and the group with it.
func inGroup(t *testing.T, dir string, argv ...string) *exec.Cmd {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), openGroupsEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		os.Remove(filepath.Join(dir, nodeGroup))
		os.Remove(dir)
	})
	return cmd
}

// openGroupsEnv makes a process of this program say what openGroups finds, and in which group it is then.
const openGroupsEnv = "COFLUX_TEST_OPEN_GROUPS"

func openGroupsMain() {
	g := openGroups()
	own, err := ownGroup()
	fmt.Println(filepath.Base(g.dir), filepath.Base(own), g.why, err)
}

// A node makes groups in the one that it is alone in, or in the one above when a service manager has put it where it would
// have gone itself.
func TestWhereGroupsAreMade(t *testing.T) {
	root := needGroups(t).dir
	for name, c := range map[string]struct {
		leaf  string // where it is started, below a group of the test's own
		other bool   // whether something else is there
		want  string // NAME is the name of the test's own group
	}{
		"alone":       {"", false, "NAME coflux-node  <nil>"},
		"not alone":   {"", true, ". NAME the control group DIR cannot be used: other processes run in it; let the node be a service of its own (systemd: Delegate=memory) <nil>"},
		"put there":   {nodeGroup, false, "NAME coflux-node  <nil>"},
		"no control":  {"plain", false, ". plain the control group DIR/plain cannot be used: it has no control of memory <nil>"},
		"not by name": {"leaf", false, ". leaf the control group DIR/leaf cannot be used: it has no control of memory <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			own := filepath.Join(root, "coflux-test-"+strings.ReplaceAll(name, " ", "-"))
			dir := filepath.Join(own, c.leaf)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(own) })
			if c.other {
				inGroup(t, dir, "sleep", "1000")
			}
			cmd := inGroup(t, dir, os.Args[0])
			cmd.Wait()
			want := strings.NewReplacer("NAME", filepath.Base(own), "DIR", own).Replace(c.want)
			if got := strings.TrimSpace(fmt.Sprint(cmd.Stdout)); got != want {
				t.Errorf("it says %s\nwant    %s", got, want)
			}
		})
	}
}

// Where no group can be made, an execution with a limit runs all the same, and it is said once.
func TestNoGroups(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		groups groups
		want   string
	}{
		"none":    {groups{why: "there are none"}, `reason="there are none"`},
		"refused": {groups{dir: t.TempDir()}, `/memory.max: no such file or directory"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := &lines{}
			e := newEngine(t, func(cfg *Config) {
				cfg.Modules, cfg.Limits = []string{"limited"}, Limits{Memory: 1 << 30}
				cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: said})
			}, func(p *Pool) { p.openGroups = func() groups { return c.groups } })
			for range 2 {
				if h := e.start(Job{Module: "limited", Target: "child"}).wait(t); !strings.HasPrefix(h.ends(), "terminated \"") {
					t.Error(h.ends())
				}
			}
			got := said.get()
			if len(got) != 1 || !strings.Contains(got[0], "limits of memory bound each process of an execution, not all of them together") || !strings.Contains(got[0], c.want) {
				t.Errorf("said %q", got)
			}
			if left, _ := os.ReadDir(c.groups.dir); c.groups.dir != "" && len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
