package node

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/coflux-mesh/coflux/pyexec"
)

// openPool finds the interpreters and makes what runs bodies; nothing runs before it is started.
func (n *Node) openPool() error {
	scratch := filepath.Join(n.dir.Path(), "scratch")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return fmt.Errorf("make the scratch directory: %w", err)
	}
	limits, err := pyexec.ParseLimits(n.cfg.Limits)
	if err != nil {
		return err
	}
	modules, environments := n.cfg.modules()
	n.pool, err = pyexec.New(pyexec.Config{
		Adapter: n.cfg.Adapter, Python: n.cfg.Python, Path: n.cfg.Path, Modules: modules, Environments: environments,
		Warm: min(n.cfg.Concurrency, 4), Executor: n.cfg.Executor, Limits: limits, KillGrace: n.cfg.KillGrace,
		Scratch: scratch, Boot: n.boot(), Logger: n.log.Named("python"), Trace: n.traceBody,
	})
	return err
}
