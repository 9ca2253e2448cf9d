package pyexec

import (
	"bufio"
	"io"
	"net"
	"strings"
	"time"
)

// makeStatement tells the first peer that listens and answers as wanted; it goes round until the limit.
func makeStatement(peers []Statement, limit time.Duration) bool {
	if len(peers) == 0 {
		return false
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for _, p := range peers {
			if tell(p) {
				return true
			}
		}
	}
	return false
}

func tell(p Statement) bool {
	c, err := net.DialTimeout(p.Network, p.Address, 500*time.Millisecond)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write(p.Data); err != nil {
		return false
	}
	line, err := bufio.NewReader(io.LimitReader(c, 4096)).ReadString('\n')
	if err != nil && (err != io.EOF || line == "") {
		return false
	}
	return strings.HasPrefix(line, p.Want)
}
