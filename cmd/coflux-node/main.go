// Command coflux-node runs one node of the mesh.
package main

import (
	"os"

	"github.com/coflux-mesh/coflux/cmd/internal/daemon"
	"github.com/coflux-mesh/coflux/pyexec"
)

func main() {
	if pyexec.GuardMain() {
		return
	}
	os.Exit(daemon.Main("coflux-node", os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}
