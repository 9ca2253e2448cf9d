package pyexec

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The control socket is a SOCK_SEQPACKET pair: one packet is one JSON object, descriptors ride along as SCM_RIGHTS,
// and the end of either side is an EOF that comes after everything sent before it.
//
//	node  -> guard  spawn (+fds) | fork (+fds, from a template) | template (start one) | kill | end (with a grace) | bound (its memory) | killall | alive | peers | quit
//	guard -> node   started | failed | unforked | bounded | exited | fenced | templateReady | templateRefused | templateEnded

// maxPacket bounds one packet; the kernel refuses to send more than the socket buffer (about 200 KiB).
const maxPacket = 180 << 10

// maxFiles is how many descriptors a spawn may carry.
const maxFiles = 8

type guardMessage struct {
	Op    string      `json:"op"`
	ID    uint64      `json:"id,omitempty"`
	Argv  []string    `json:"argv,omitempty"`
	Env   []string    `json:"env,omitempty"`
	Dir   string      `json:"dir,omitempty"`
	Until int64       `json:"until,omitempty"`
	Grace int64       `json:"grace,omitempty"` // milliseconds
	Peers []Statement `json:"peers,omitempty"`

	From   uint64 `json:"from,omitempty"`   // the template
	Memory int64  `json:"memory,omitempty"` // bytes

	Pid    int         `json:"pid,omitempty"`
	Status *exitStatus `json:"status,omitempty"`
	Text   string      `json:"text,omitempty"`
}

// controlPair makes the two ends of a control socket, both closed on exec.
func controlPair() (node, guard *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the guard's control socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "guard-control"), os.NewFile(uintptr(fds[1]), "guard-control"), nil
}

// controlConn takes f over.
func controlConn(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("the guard's control socket is unusable: %w", err)
	}
	f.Close()
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("the guard's control socket is a %T, not a unix socket", c)
	}
	u.SetWriteBuffer(1 << 20)
	return u, nil
}

// sendMessage writes one packet, giving up after the timeout: the other side may be stopped.
func sendMessage(c *net.UnixConn, m guardMessage, files []*os.File, timeout time.Duration) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a guard message: %w", err)
	}
	if len(b) > maxPacket {
		return fmt.Errorf("%w: %d KiB, at most %d are possible", errTooLong, len(b)>>10, maxPacket>>10)
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			raw, err := f.SyscallConn()
			if err != nil {
				return fmt.Errorf("descriptor %d of a new process: %w", i, err)
			}
			if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
				return fmt.Errorf("descriptor %d of a new process: %w", i, err)
			}
		}
		oob = unix.UnixRights(fds...)
	}
	if err = sendNow(c, b, oob); err != nil {
		c.SetWriteDeadline(time.Now().Add(timeout))
		_, _, err = c.WriteMsgUnix(b, oob, nil)
	}
	if errors.Is(err, syscall.EMSGSIZE) {
		return fmt.Errorf("%w: %d KiB do not fit into the socket", errTooLong, len(b)>>10)
	} else if err != nil {
		return fmt.Errorf("write to the control socket: %w", err)
	}
	return nil
}

// sendNow writes one packet if that is possible at once: most are, and a deadline costs more than the packet.
func sendNow(c *net.UnixConn, b, oob []byte) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = unix.Sendmsg(int(fd), b, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) }); err != nil {
		return err
	}
	return serr
}

// errTooLong means that a message was not sent because of its size; the guard is well.
var errTooLong = errors.New("a message to the guard is too long")

// errNoMessage means that a packet could not be understood; its descriptors are closed.
var errNoMessage = errors.New("not a control message")

// parsePacket decodes a packet and takes its descriptors.
func parsePacket(b, oob []byte) (guardMessage, []int, error) {
	var fds []int
	scms, err := unix.ParseSocketControlMessage(oob)
	if err == nil {
		for i := range scms {
			got, err := unix.ParseUnixRights(&scms[i])
			if err == nil {
				fds = append(fds, got...)
			}
		}
	}
	var m guardMessage
	if err := json.Unmarshal(b, &m); err != nil {
		closeAll(fds)
		return guardMessage{}, nil, fmt.Errorf("%w: %w", errNoMessage, err)
	}
	return m, fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd)
	}
}

// boottime is CLOCK_BOOTTIME in nanoseconds: it goes on while the machine sleeps.
func boottime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}
