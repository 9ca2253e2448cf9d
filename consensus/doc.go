// Package consensus hosts Raft: one committed log of opaque entries applied to a Machine, its membership and the quorum question.
package consensus
