// Package state holds the replicated tables of the mesh and the one way in which committed entries change them.
package state
