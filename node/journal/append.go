package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// retryAfter is the pause after a failed write.
const retryAfter = 200 * time.Millisecond

// Append takes entries; they are written within 50 ms. While more than
// MaxPending waits for the disk it blocks, at most MaxBlock, then drops and
// returns ErrGap; the entries of one call are taken or dropped together.
func (j *Journal) Append(entries ...Entry) error {
	items, size, err := j.encode(entries)
	if err != nil || len(items) == 0 {
		return err
	}
	var timeout <-chan time.Time
	expired := false
	for {
		taken, wait, err := j.take(items, size, expired)
		if taken || err != nil {
			return err
		}
		if timeout == nil {
			timer := time.NewTimer(j.maxBlock)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-wait:
		case <-j.stopC:
			return ErrStopped
		case <-timeout:
			expired = true
		}
	}
}

// take accepts, refuses, or says what to wait for. A call larger than the
// whole bound is taken when nothing else waits.
func (j *Journal) take(items []item, size int, expired bool) (taken bool, wait <-chan struct{}, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != running {
		return false, nil, ErrStopped
	}
	if j.bytes == 0 || j.bytes+size <= j.maxPending {
		j.addLocked(items, size)
		return true, nil, nil
	}
	if !j.stalled && !expired {
		return false, j.space, nil
	}
	j.stalled = true
	for _, it := range items {
		k := gapKey{it.run, it.execution, it.workspace}
		if _, known := j.gaps[k]; known || len(j.gaps) < maxGaps {
			j.gaps[k]++
		}
	}
	j.droppedEntries.Add(int64(len(items)))
	return false, nil, ErrGap
}

func (j *Journal) encode(entries []Entry) (items []item, size int, err error) {
	for _, e := range entries {
		j.numbering.Stamp(&e)
		it, err := encodeEntry(e)
		if err != nil {
			return nil, 0, err
		}
		items, size = append(items, it), size+len(it.enc)
	}
	return items, size, nil
}

func (j *Journal) addLocked(items []item, size int) {
	j.pending, j.bytes = append(j.pending, items...), j.bytes+size
	for _, it := range items {
		for _, key := range it.blobs {
			j.waiting[key]++
		}
	}
	select {
	case j.kickC <- struct{}{}:
	default:
	}
}

// Keep takes entries and returns when they are written; never does it wait for room: ErrBusy. After another error they may
// be written later; to keep the same entries again is harmless, as their identity says that they are the same.
func (j *Journal) Keep(ctx context.Context, entries ...Entry) error {
	items, size, err := j.encode(entries)
	if err != nil || len(items) == 0 {
		return err
	}
	j.mu.Lock()
	switch {
	case j.state != running:
		err = ErrStopped
	case j.failing || j.bytes > 0 && j.bytes+size > j.maxPending:
		err = ErrBusy
	default:
		j.addLocked(items, size)
	}
	j.mu.Unlock()
	if err != nil {
		return err
	}
	return j.flush(ctx)
}

// Flush waits until what was appended before is written.
func (j *Journal) Flush() error { return j.flush(context.Background()) }

func (j *Journal) flush(ctx context.Context) error {
	done := make(chan error, 1)
	j.mu.Lock()
	state := j.state
	j.mu.Unlock()
	if state != running {
		return ErrStopped
	}
	select {
	case j.flushC <- done:
	case <-j.doneC:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *Journal) writeLoop() {
	defer close(j.doneC)
	var batch []item
	var failed error
	for {
		var gather <-chan time.Time
		if len(batch) > 0 {
			gather = time.After(retryAfter)
		}
		var flushed chan error
		stop := false
		select {
		case <-j.kickC:
			gather = time.After(gatherFor)
			select {
			case <-gather:
			case flushed = <-j.flushC:
			case <-j.stopC:
				stop = true
			}
		case <-gather:
		case flushed = <-j.flushC:
		case <-j.stopC:
			stop = true
		}
		batch = append(batch, j.drain()...)
		left, err := j.writeBatch(batch)
		batch = left
		if err != nil && failed == nil {
			j.log.Error("cannot write the journal, entries wait", "error", err)
		}
		failed = err
		j.setFailing(err != nil)
		if flushed != nil {
			flushed <- err
		}
		if stop {
			if err := j.closeAll(); err != nil {
				j.log.Error("cannot end the journal cleanly", "error", err)
			}
			return
		}
	}
}

func (j *Journal) setFailing(failing bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failing = failing
}

func (j *Journal) drain() []item {
	j.mu.Lock()
	defer j.mu.Unlock()
	items := j.pending
	j.pending = nil
	return items
}

// writeBatch groups by run, which keeps the order within each, and writes a
// record or more per run. It returns what could not be written, in order.
func (j *Journal) writeBatch(items []item) (left []item, err error) {
	byRun := map[string][]item{}
	var runs []string
	for _, it := range items {
		if byRun[it.run] == nil {
			runs = append(runs, it.run)
		}
		byRun[it.run] = append(byRun[it.run], it)
	}
	var errs []error
	for _, run := range runs {
		rest, err := j.writeRun(run, byRun[run])
		left = append(left, rest...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := j.dropOldest(); err != nil {
		errs = append(errs, err)
	}
	return left, errors.Join(errs...)
}

func (j *Journal) writeRun(run string, items []item) (left []item, err error) {
	for len(items) > 0 {
		n, size := 0, 0
		var entries []json.RawMessage
		for n < len(items) && (n == 0 || size+len(items[n].enc) < maxEntry) {
			entries = append(entries, items[n].enc)
			size += len(items[n].enc)
			n++
		}
		if err := j.writeRecord(run, entries, items[:n]); err != nil {
			return items, err
		}
		j.written(size, items[:n])
		items = items[n:]
	}
	j.signal(run)
	return nil, nil
}

func (j *Journal) writeRecord(run string, entries []json.RawMessage, items []item) error {
	rec, err := appendRecord(nil, run, entries)
	if err != nil {
		return err
	}
	g, err := j.active(shardOf(run))
	if err != nil {
		return err
	}
	if n, err := j.write(g.file, rec); err != nil {
		return errors.Join(fmt.Errorf("cannot write log segment %s: %w", g.path, err), j.abandon(g, int64(n)))
	}
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	note(g.index, runHash(run), g.size, int64(len(rec)))
	for _, it := range items {
		g.blobs.add(it.blobs)
	}
	g.size += int64(len(rec))
	j.total += int64(len(rec))
	return nil
}

// abandon ends a segment after a failed write: its torn end stays, and the
// next record begins another one.
func (j *Journal) abandon(g *segment, torn int64) error {
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	if g.size == 0 { // nothing in it: do not leave one file per attempt
		cut := g.file.Truncate(0)
		_, seek := g.file.Seek(0, 0)
		return errors.Join(cut, seek)
	}
	g.size += torn
	j.total += torn
	return closeSegment(g)
}

// written gives room back, and says what was dropped in the meantime.
func (j *Journal) written(size int, items []item) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bytes -= size
	for _, it := range items {
		for _, key := range it.blobs {
			if j.waiting[key]--; j.waiting[key] == 0 {
				delete(j.waiting, key)
			}
		}
	}
	j.stalled = false
	close(j.space)
	j.space = make(chan struct{})
	now := time.Now().UnixMilli()
	for k, count := range j.gaps {
		mark := gapEntry(k, count, now)
		j.numbering.Stamp(&mark)
		if it, err := encodeEntry(mark); err == nil {
			j.pending, j.bytes = append(j.pending, it), j.bytes+len(it.enc)
		}
	}
	if len(j.gaps) > 0 {
		clear(j.gaps)
		select {
		case j.kickC <- struct{}{}:
		default:
		}
	}
}

func (j *Journal) closeAll() error {
	j.filesMu.Lock()
	defer j.filesMu.Unlock()
	var errs []error
	for _, segs := range j.shards {
		for _, g := range segs {
			errs = append(errs, closeSegment(g))
		}
	}
	return errors.Join(errs...)
}
