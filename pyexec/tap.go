package pyexec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// readSize is how much one read takes; buffers of it are shared, a tap holds one only while it reads.
const readSize = 64 << 10

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// tap reads a pipe and hands complete lines (without the newline) to onLine, from whichever goroutine reads. mu makes
// reading and handling one step, so that drain can be called from anywhere and returns when everything that was in the
// pipe has been handled.
type tap struct {
	f      *os.File
	raw    syscall.RawConn
	onLine func(line []byte)
	limit  int  // longest line kept
	cut    bool // true: a longer line is handed over in pieces; false: it is an error
	onLong func()

	before  func()       // called by pump when there is something, before it is read
	onBytes func([]byte) // instead of onLine: everything as it comes

	mu   sync.Mutex
	rest []byte // the beginning of an unfinished line
}

func newTap(f *os.File, limit int, cut bool) (*tap, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("a pipe of an executor is unusable: %w", err)
	}
	return &tap{f: f, raw: raw, limit: limit, cut: cut}, nil
}

// pump reads until the pipe ends or is closed.
func (t *tap) pump() {
	for {
		n := 0
		err := t.raw.Read(func(fd uintptr) bool {
			var err error
			if t.before != nil {
				if left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil && left > 0 {
					t.before()
				}
			}
			n, err = t.take(int(fd), readSize)
			return !errors.Is(err, unix.EAGAIN)
		})
		if err != nil || n <= 0 {
			return
		}
	}
}

// drain handles what is in the pipe at this moment, and no more: a sub-process may go on writing for ever.
func (t *tap) drain() {
	// What the pump has read already may still be being handled: that is waited for too.
	defer func() { t.mu.Lock(); t.mu.Unlock() }() //lint:ignore SA2001 the wait is the purpose
	t.raw.Control(func(fd uintptr) {
		left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for err == nil && left > 0 {
			var n int
			if n, err = t.take(int(fd), left); n <= 0 {
				return
			}
			left -= n
		}
	})
}

// finish handles what is in the pipe, then an unfinished line, and closes.
func (t *tap) finish() {
	t.drain()
	t.flush()
	t.f.Close()
}

// flush hands over an unfinished line of output; in a protocol an unfinished line is nothing.
func (t *tap) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut && len(t.rest) > 0 {
		t.onLine(t.rest)
	}
	t.rest = nil
}

// take reads once without blocking; n <= 0 means nothing more (the end, or EAGAIN).
func (t *tap) take(fd, most int) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	for {
		n, err := unix.Read(fd, (*b)[:min(most, readSize)])
		if err == unix.EINTR {
			continue
		}
		if n > 0 && t.onBytes != nil {
			t.onBytes((*b)[:n])
		} else if n > 0 {
			t.split((*b)[:n])
		}
		return n, err
	}
}

func (t *tap) split(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			t.keep(b)
			return
		}
		if len(t.rest) == 0 && i <= t.limit {
			t.onLine(b[:i])
		} else if t.keep(b[:i]); len(t.rest) > 0 {
			line := t.rest
			t.rest = nil // a long line's memory is not held on to
			t.onLine(line)
		}
		b = b[i+1:]
	}
}

func (t *tap) keep(b []byte) {
	if len(t.rest)+len(b) <= t.limit {
		t.rest = append(t.rest, b...)
		return
	}
	if !t.cut {
		t.rest = nil
		t.onLong()
		return
	}
	t.rest = append(t.rest, b...)
	for len(t.rest) > t.limit {
		end := runeEnd(t.rest, t.limit)
		t.onLine(t.rest[:end])
		t.rest = append([]byte(nil), t.rest[end:]...)
	}
}

// runeEnd is n, or a little less if a UTF-8 character would be cut in two there.
func runeEnd(b []byte, n int) int {
	for i := n; i > n-4 && i > 0; i-- {
		if b[i]&0xC0 != 0x80 {
			return i
		}
	}
	return n
}
