package pyexec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// guardGroupsEnv tells the guard where it makes control groups of executors; empty = nowhere.
const guardGroupsEnv = "COFLUX_GUARD_GROUPS"

const (
	// nodeGroup is the control group that a node moves to: one with processes in it cannot bound others below it.
	nodeGroup = "coflux-node"
	// groupPrefix is what the names of executors' control groups begin with.
	groupPrefix = "coflux-executor"
)

// groups is where control groups (cgroup v2) bound the memory of executors with all that they start.
type groups struct {
	dir string // "" = nowhere, they cannot be made here
	why string // and the reason
}

// moving makes what changes the group of the process one step.
var moving sync.Mutex

// openGroups looks for a group of which this process may make others: the one that it runs in, if nothing else does, or if
// that is the group that an earlier call or a service manager has made for the node, the one above.
func openGroups() groups {
	moving.Lock()
	defer moving.Unlock()
	own, err := ownGroup()
	if err != nil {
		return groups{why: err.Error()}
	}
	dir := own
	if filepath.Base(own) == nodeGroup {
		dir = filepath.Dir(own)
	}
	if err := enableMemory(dir); err != nil {
		return groups{why: fmt.Sprintf("the control group %s cannot be used: %v", dir, err)}
	}
	return groups{dir: dir}
}

// ownGroup is the directory of the control group of this process.
func ownGroup() (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", errors.New("there are no control groups")
	}
	path := ""
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = rest
		}
	}
	mount, root, err := groupMount()
	if err != nil || path == "" {
		return "", errors.New("there are no control groups of version 2")
	}
	below, err := filepath.Rel(root, path)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		return "", fmt.Errorf("the control group %s is not among those that are mounted", path)
	}
	return filepath.Join(mount, below), nil
}

// groupMount is where control groups of version 2 are mounted, and which of them is the uppermost there.
func groupMount() (mount, root string, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4], fields[3], nil
		}
	}
	return "", "", fs.ErrNotExist
}

// enableMemory lets groups in dir have limits of memory. If this process is in dir itself, and alone, it moves down.
func enableMemory(dir string) error {
	if !slices.Contains(words(filepath.Join(dir, "cgroup.controllers")), "memory") {
		return errors.New("it has no control of memory")
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err == nil { // it is not the root, which may have processes
		me := strconv.Itoa(os.Getpid())
		switch in := words(filepath.Join(dir, "cgroup.procs")); {
		case len(in) == 0:
		case !slices.Equal(in, []string{me}):
			return errors.New("other processes run in it; let the node be a service of its own (systemd: Delegate=memory)")
		default:
			leaf := filepath.Join(dir, nodeGroup)
			if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			if err := setGroup(leaf, "cgroup.procs", me); err != nil {
				return err
			}
		}
	}
	if slices.Contains(words(filepath.Join(dir, "cgroup.subtree_control")), "memory") {
		return nil
	}
	return setGroup(dir, "cgroup.subtree_control", "+memory")
}

// sweep removes what guards that were killed have left; a group that something runs in stays.
func (g groups) sweep() {
	if g.dir == "" {
		return
	}
	left, _ := filepath.Glob(filepath.Join(g.dir, groupPrefix+"*"))
	for _, dir := range left {
		os.Remove(dir)
	}
}

// words reads a file of a control group; nil if there is none.
func words(file string) []string {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// setGroup writes a file of a control group, which must be there: elsewhere writing would only make one.
func setGroup(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
