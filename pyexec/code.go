package pyexec

// codeStore keeps the snapshots of the modules' code. It is guarded by the pool's mu.
type codeStore struct {
	dir     string
	current map[string]string // module -> snapshot
}

// snapshotFor is the directory with the code that a module's executions use; empty = the files as they are.
func (p *Pool) snapshotFor(module string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code.current[module]
}
