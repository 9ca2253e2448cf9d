package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/hashicorp/go-hclog"
)

// newPool finds the interpreters and makes what runs bodies, with its files below dir; nothing runs before it is started.
func newPool(c Config, dir, boot string, log hclog.Logger, trace func(execution, stage string)) (*pyexec.Pool, error) {
	scratch := filepath.Join(dir, "scratch")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, fmt.Errorf("make the scratch directory: %w", err)
	}
	limits, err := pyexec.ParseLimits(c.Limits)
	if err != nil {
		return nil, err
	}
	modules, environments := c.modules()
	return pyexec.New(pyexec.Config{
		Adapter: c.Adapter, Python: c.Python, Path: c.Path, Modules: modules, Environments: environments,
		Warm: min(c.Concurrency, 4), Executor: c.Executor, Limits: limits, KillGrace: c.KillGrace,
		Scratch: scratch, Boot: boot, Logger: log.Named("python"), Trace: trace,
	})
}

// watchModules tells what the modules offer whenever that changes, until ctx ends. first is known already.
func watchModules(ctx context.Context, pool *pyexec.Pool, first pyexec.Discovery, changed func(pyexec.Discovery)) {
	looked := false
	pool.Watch(ctx, func(d pyexec.Discovery) {
		// The first look finds the same as Discover did, if nothing has changed in between.
		if looked || !reflect.DeepEqual(d, first) {
			changed(d)
		}
		looked = true
	})
}
