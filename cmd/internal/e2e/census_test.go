package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// marked lists the living processes that belong to boots of the nodes with these ids: executors, what they started, and
// guards. Zombies have no environment any more and are not listed.
func marked(ids ...string) (pids []int) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil {
			continue // gone meanwhile
		}
		for _, v := range strings.Split(string(env), "\x00") {
			name, boot, _ := strings.Cut(v, "=")
			id, _, _ := strings.Cut(boot, "/")
			if (name == "COFLUX_BOOT" || name == "COFLUX_GUARD_BOOT") && id != "" && slices.Contains(ids, id) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// bodies are those of the marked processes that are executors or their children, not guards.
func bodies(id string) []int { return withEnv(id, "COFLUX_BOOT="+id+"/") }

// bodiesOf are those of one boot, "node id/boot".
func bodiesOf(boot string) []int {
	id, _, _ := strings.Cut(boot, "/")
	return withEnv(id, "COFLUX_BOOT="+boot+"\x00")
}

// withEnv are the marked processes in whose environment a variable begins like this.
func withEnv(id, begin string) (pids []int) {
	for _, pid := range marked(id) {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && strings.Contains("\x00"+string(env)+"\x00", "\x00"+begin) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// guards are the guard processes of a node.
func guards(id string) []int {
	executors := bodies(id)
	return slices.DeleteFunc(withEnv(id, "COFLUX_GUARD_BOOT="+id+"/"), func(pid int) bool { return slices.Contains(executors, pid) })
}

// alive tells whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// bury sees that nothing of the mesh stays behind once all its nodes are dead: bodies end by themselves; a guard tries
// for a while to tell the peers, and is spared that.
func (m *mesh) bury() {
	m.t.Helper()
	var ids []string
	for _, n := range m.nodes {
		if n.id != "" {
			ids = append(ids, n.id)
		}
	}
	left := poll(10*time.Second, func() string {
		for _, id := range ids {
			if pids := bodies(id); len(pids) > 0 {
				return fmt.Sprintf("bodies %v are alive", pids)
			}
		}
		return ""
	})
	if left != "" {
		m.t.Errorf("after the end of all nodes %s", left)
	}
	for _, pid := range marked(ids...) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
