package main

import (
	"fmt"
	"io"
	"strings"
)

// Styles of a span, as the numbers of ANSI's SGR.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// span is a piece of a line in one style.
type span struct{ style, text string }

// line is a row of text without its end.
type line []span

// render writes the line at most width runes wide (0 = whole).
func (l line) render(width int, colour bool) string {
	var b strings.Builder
	left := width
	for _, s := range l {
		text := printable(strings.ReplaceAll(s.text, "\n", " "))
		if width > 0 {
			runes := []rune(text)
			if len(runes) > left {
				text = string(runes[:max(left-1, 0)]) + "…"
				if left <= 0 {
					text = ""
				}
			}
			left -= min(len(runes), max(left, 0))
		}
		if text == "" {
			continue
		}
		if colour && s.style != plain {
			text = "\x1b[" + s.style + "m" + text + "\x1b[0m"
		}
		b.WriteString(text)
	}
	return b.String()
}

// screen redraws a block of lines in place on a terminal.
type screen struct {
	out   io.Writer
	size  func() (width, height int)
	drawn int // lines on the terminal now
}

// draw replaces what was drawn before, cut to the terminal's size.
func (s *screen) draw(lines []line) {
	width, height := s.size()
	var b strings.Builder
	s.clear(&b)
	shown := lines
	if limit := max(height-1, 1); len(lines) > limit {
		shown = append(append([]line{}, lines[:limit-1]...), line{{dim, fmt.Sprintf("… %d more", len(lines)-limit+1)}})
	}
	for _, l := range shown {
		b.WriteString(l.render(width-1, true) + "\n")
	}
	s.drawn = len(shown)
	_, _ = io.WriteString(s.out, b.String())
}

// finish replaces what was drawn by all lines in full.
func (s *screen) finish(lines []line) {
	var b strings.Builder
	s.clear(&b)
	for _, l := range lines {
		b.WriteString(l.render(0, true) + "\n")
	}
	_, _ = io.WriteString(s.out, b.String())
}

func (s *screen) clear(b *strings.Builder) {
	if s.drawn > 0 {
		fmt.Fprintf(b, "\x1b[%dA", s.drawn)
	}
	b.WriteString("\r\x1b[J")
	s.drawn = 0
}
