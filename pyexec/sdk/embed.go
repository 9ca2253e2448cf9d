// Package sdk holds the Python package coflux, so that a node needs nothing installed.
package sdk

import "embed"

// Files is the tree coflux/*.py, coflux/py.typed.
//
//go:embed coflux/*.py coflux/py.typed
var Files embed.FS
