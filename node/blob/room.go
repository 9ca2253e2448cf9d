package blob

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// Room has everything be refused that would be written while room gives an error, which is ErrFull, wrapped; own is for what this
// node's work needs: values that are made here, and copies to be read here. It is set before the first use.
func (l *Local) Room(room func(own bool) error) { l.room = room }

// roomEvery is after how many bytes it is looked again.
const roomEvery = 4 << 20

// roomy reads as long as there is room for what is read.
type roomy struct {
	r    io.Reader
	room func() error
	left int // bytes until the next look
}

func (r *roomy) Read(b []byte) (int, error) {
	if r.left <= 0 {
		if err := r.room(); err != nil {
			return 0, err
		}
		r.left = roomEvery
	}
	n, err := r.r.Read(b)
	r.left -= n
	return n, err
}

// roomy gives r as long as there is room.
func (l *Local) roomy(r io.Reader, own bool) io.Reader {
	if l.room == nil {
		return r
	}
	return &roomy{r: r, room: func() error { return l.room(own) }}
}

// full names an error that comes of a full disk.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
