package main

import (
	"context"
	"os"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/cmd/internal/daemon"
)

// nodeOptions run a node in this process: what coflux-node does, so that dev needs no second program.
type nodeOptions struct{}

func (o *nodeOptions) AddFlags(*pflag.FlagSet) {}

func (o *nodeOptions) run(_ context.Context, a *app, args []string) error {
	if code := daemon.Main("coflux node", args, os.LookupEnv, a.stdout, a.stderr); code != 0 {
		return &exitError{code}
	}
	return nil
}
