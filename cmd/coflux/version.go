package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/cmd/internal/daemon"
)

type versionOptions struct{}

func (o *versionOptions) AddFlags(*pflag.FlagSet) {}

func (o *versionOptions) run(_ context.Context, a *app, _ []string) error {
	if a.json() {
		return a.printJSONValue(map[string]string{"version": daemon.Version()})
	}
	_, err := fmt.Fprintf(a.stdout, "coflux version %s\n", daemon.Version())
	return err
}
