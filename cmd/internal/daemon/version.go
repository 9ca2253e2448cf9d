// Package daemon is the command line of a node, shared by the two programs that can run one.
package daemon

import "runtime/debug"

// release is the version that this source tree leads to.
const release = "0.1.0-dev"

// Version is the released version this program was built from, or the one that its source leads to.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return release
	}
	return info.Main.Version
}
