package pyexec

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pipes are the executor's descriptors: ours and the child's.
type pipes struct {
	cmdR, cmdW, protoR, protoW, outR, outW, errR, errW *os.File
}

func (p *pipes) all() []*os.File {
	return []*os.File{p.cmdR, p.cmdW, p.protoR, p.protoW, p.outR, p.outW, p.errR, p.errW}
}

func (p *pipes) closeChild() {
	for _, f := range []*os.File{p.cmdR, p.protoW, p.outW, p.errW} {
		if f != nil {
			f.Close()
		}
	}
}

func (p *pipes) closeAll() {
	for _, f := range p.all() {
		if f != nil {
			f.Close()
		}
	}
}

func makePipes(foreign bool) (*pipes, error) {
	p := &pipes{}
	type pair struct{ r, w **os.File }
	pairs := []pair{{&p.cmdR, &p.cmdW}, {&p.protoR, &p.protoW}, {&p.errR, &p.errW}}
	if !foreign {
		pairs = append(pairs, pair{&p.outR, &p.outW})
	}
	for _, x := range pairs {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			p.closeAll()
			return nil, fmt.Errorf("cannot make a pipe: %w", err)
		}
		// Only our end is non-blocking: the flag belongs to the end, and Python expects blocking ones.
		theirs := fds[1]
		if x.w == &p.cmdW {
			theirs = fds[0]
		}
		unix.FcntlInt(uintptr(theirs), unix.F_SETFL, 0)
		*x.r, *x.w = os.NewFile(uintptr(fds[0]), "|r"), os.NewFile(uintptr(fds[1]), "|w")
	}
	return p, nil
}

// childFiles are the child's descriptors 0, 1, 2, ...: a foreign adapter speaks on stdin and stdout, the SDK on 3 and 4.
func (p *pipes) childFiles(foreign bool, null *os.File) []*os.File {
	if foreign {
		return []*os.File{p.cmdR, p.protoW, p.errW}
	}
	return []*os.File{null, p.outW, p.errW, p.cmdR, p.protoW}
}
