// Package node assembles one node of the mesh: every node is agent (runs Python) and coordinator (may lead) at once.
package node
