package pyexec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// codeStore knows which code each module's executions use. Code that was good once is kept as a snapshot (a directory
// that the SDK writes while it imports) until it is replaced by newer good code and its last execution has ended.
// Everything here is guarded by the pool's mu.
type codeStore struct {
	dir        string
	generation int
	good       map[string]goodCode // configured module -> what serves
	byModule   map[string]string   // any module with targets -> snapshot
	uses       map[string]int      // snapshot -> executions that use it
}

// goodCode is a module as it was when it could last be imported.
type goodCode struct {
	snapshot string
	digest   string // equal = the same code; empty = unlike any other
	targets  []Target
}

// sum is a digest of all that a module was made of: its snapshot's sources and index, which has the times of the files, and what
// was found.
func (f *found) sum() string {
	if f.snapshot == "" {
		return ""
	}
	sum := sha256.New()
	entries, err := os.ReadDir(f.snapshot)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".code") {
			continue // made of the source, but not the same bytes each time
		}
		b, err := os.ReadFile(filepath.Join(f.snapshot, e.Name()))
		if err != nil {
			return ""
		}
		fmt.Fprintf(sum, "%s %d\n%s", e.Name(), len(b), b)
	}
	if err := json.NewEncoder(sum).Encode(f.manifest.Targets); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func newCodeStore(dir string) codeStore {
	return codeStore{dir: dir, good: map[string]goodCode{}, byModule: map[string]string{}, uses: map[string]int{}}
}

// use counts an execution of the module and returns its snapshot; empty = the files as they are.
func (c *codeStore) use(module string) string {
	s := c.byModule[module]
	if s != "" {
		c.uses[s]++
	}
	return s
}

// release is the end of such an execution; it returns a snapshot that nobody needs any more.
func (c *codeStore) release(snapshot string) string {
	if snapshot == "" {
		return ""
	}
	c.uses[snapshot]--
	return c.drop(snapshot)
}

// limitsOf are the target's own.
func (c *codeStore) limitsOf(module, target string) Limits {
	for _, code := range c.good {
		for _, t := range code.targets {
			if t.Module == module && t.Name == target && t.Limits != nil {
				return *t.Limits
			}
		}
	}
	return Limits{}
}

// replace puts new code into service and returns the old snapshots that nobody needs any more.
func (c *codeStore) replace(fresh map[string]goodCode) []string {
	if len(fresh) == 0 {
		return nil
	}
	c.generation++
	var old []string
	for name, code := range fresh {
		if was := c.good[name].snapshot; was != "" && was != code.snapshot {
			old = append(old, was)
		}
		c.good[name] = code
	}
	clear(c.byModule)
	// In the order of names, so that a module that two configured ones have in common always comes from the same one.
	for _, name := range slices.Sorted(maps.Keys(c.good)) {
		code := c.good[name]
		for _, t := range code.targets {
			c.byModule[t.Module] = code.snapshot
		}
		c.byModule[name] = code.snapshot
	}
	var free []string
	for _, s := range old {
		if d := c.drop(s); d != "" {
			free = append(free, d)
		}
	}
	return free
}

func (c *codeStore) drop(snapshot string) string {
	if c.uses[snapshot] > 0 {
		return ""
	}
	for _, code := range c.good {
		if code.snapshot == snapshot {
			return ""
		}
	}
	delete(c.uses, snapshot)
	return snapshot
}
