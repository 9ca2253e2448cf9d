package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Propose commits one entry. nil means that it is committed and applied here; ErrRefused that it was made on another
// state and changed nothing; ErrNotLeader that it was certainly not proposed; ErrUnknown that nobody knows. It waits
// for as long as this node leads: pass a context that ends with the leadership, not with a caller's patience.
func (h *Host) Propose(ctx context.Context, entry []byte) error {
	return h.await(ctx, func() error {
		f := h.raft.Apply(entry, 0)
		if err := f.Error(); err != nil {
			return proposalError(err)
		}
		res, ok := f.Response().(applied)
		if !ok {
			return fmt.Errorf("%w: this node has halted", ErrUnknown)
		}
		return res.err
	})
}

// Barrier returns when everything committed before it is applied here. It fails where this node does not lead.
func (h *Host) Barrier(ctx context.Context) error {
	return h.await(ctx, func() error { return proposalError(h.raft.Barrier(0).Error()) })
}

// await runs one proposal beside the caller, so that the caller's context and the end of this node can end the wait.
func (h *Host) await(ctx context.Context, propose func() error) error {
	h.mu.RLock()
	if h.state != hostRunning {
		h.mu.RUnlock()
		return fmt.Errorf("%w: %w", ErrNotLeader, ErrStopped)
	}
	h.proposals.Add(1)
	h.mu.RUnlock()
	done := make(chan error, 1)
	go func() {
		defer h.proposals.Done()
		done <- propose()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	case <-h.halted:
		return fmt.Errorf("%w: %w", ErrUnknown, ErrStopped)
	}
}

func proposalError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}
