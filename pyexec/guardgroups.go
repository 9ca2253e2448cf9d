package pyexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryGroups are the control groups of single executors: those whose body has a limit of memory. The guard's mu guards them.
type memoryGroups struct {
	root string // where they are made; "" = nowhere
	boot string
	dirs map[uint64]string // by the id of the spawn
}

func newMemoryGroups(boot string) memoryGroups {
	return memoryGroups{root: os.Getenv(guardGroupsEnv), boot: boot, dirs: map[uint64]string{}}
}

// groupName is the name of an executor's group, which no other node's has.
func groupName(boot string, id uint64) string {
	return fmt.Sprintf("%s-%s-%d", groupPrefix, strings.ReplaceAll(boot, "/", "-"), id)
}

// bound puts an executor into a group of its own, before it has its job. What it has in common with its template is not
// counted: that was there before.
func (g *guardServer) bound(m guardMessage) {
	g.mu.Lock()
	err := g.boundTo(m.ID, m.Memory)
	g.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	g.out.put(guardMessage{Op: "bounded", ID: m.ID, Text: text})
}

func (g *guardServer) boundTo(id uint64, memory int64) error {
	if g.groups.root == "" {
		return errors.New("there is no control group to make others in")
	}
	pid := 0
	for p, owner := range g.procs {
		if owner == id {
			pid = p
		}
	}
	if pid == 0 {
		return nil // it has ended; that is told
	}
	dir := filepath.Join(g.groups.root, groupName(g.groups.boot, id))
	os.Remove(dir) // an earlier guard's, which has ended
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	g.groups.dirs[id] = dir
	setGroup(dir, "memory.swap.max", "0") // where there is swap: more than the limit is too much, not slow
	setGroup(dir, "memory.oom.group", "1")
	if err := setGroup(dir, "memory.max", strconv.FormatInt(memory, 10)); err != nil {
		return err
	}
	return setGroup(dir, "cgroup.procs", strconv.Itoa(pid))
}

// overMemory says whether the kernel has ended processes of an executor because its group was over its limit.
func (g *guardServer) overMemory(id uint64) bool {
	g.mu.Lock()
	dir := g.groups.dirs[id]
	g.mu.Unlock()
	if dir == "" {
		return false
	}
	b, _ := os.ReadFile(filepath.Join(dir, "memory.events"))
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return n != "0"
		}
	}
	return false
}

// leaveGroup ends what is left in an executor's group and removes it; false if it is not empty yet.
func (g *guardServer) leaveGroup(id uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	dir := g.groups.dirs[id]
	if dir == "" {
		return true
	}
	err := os.Remove(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		setGroup(dir, "cgroup.kill", "1")
		return false
	}
	delete(g.groups.dirs, id)
	return true
}
