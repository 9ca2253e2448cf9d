// Package sdk holds the Python package coflux, so that a node needs nothing installed.
package sdk

import "embed"

// Files is the tree coflux/*.py.
//
//go:embed coflux/*.py
var Files embed.FS
