package pyexec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var frameLine = regexp.MustCompile(`^\s*File "(.*)", line (\d+), in (.*)$`)

// parseTraceback splits Python's text into frames; a text without any becomes one frame that holds it.
func parseTraceback(text string) []Frame {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	var frames []Frame
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		m := frameLine.FindStringSubmatch(strings.TrimRight(line, "\r"))
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[2])
		f := Frame{File: m[1], Line: n, Name: m[3]}
		if i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    ") && frameLine.FindString(lines[i+1]) == "" {
			f.Code = strings.TrimSpace(lines[i+1])
		}
		frames = append(frames, f)
	}
	if frames == nil {
		return []Frame{{Code: text}}
	}
	return frames
}

// formatTraceback is the other direction.
func formatTraceback(frames []Frame) string {
	if len(frames) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("Traceback (most recent call last):\n")
	for _, f := range frames {
		fmt.Fprintf(&b, "  File \"%s\", line %d, in %s\n", f.File, f.Line, f.Name)
		if f.Code != "" {
			fmt.Fprintf(&b, "    %s\n", f.Code)
		}
	}
	return b.String()
}
