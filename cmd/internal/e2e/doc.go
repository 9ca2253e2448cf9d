// Package e2e tests meshes of real node processes under faults.
package e2e
