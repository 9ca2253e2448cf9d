package journal

import "slices"

// maxSpans bounds the spans of one origin in a cursor. Beyond that the lowest hole is taken for seen: what a journal that
// was away all the time holds in it is not shown to this reader.
const maxSpans = 64

// numbers are those of one origin that were shown or left out by the filter: disjoint spans [first, last] that do not
// touch, in order.
type numbers [][2]uint64

func (n numbers) has(seq uint64) bool {
	i, found := slices.BinarySearchFunc(n, seq, func(s [2]uint64, seq uint64) int {
		switch {
		case s[1] < seq:
			return -1
		case s[0] > seq:
			return 1
		}
		return 0
	})
	return found && i < len(n)
}

// add joins [from, to] with what there is.
func (n numbers) add(from, to uint64) numbers {
	out := make(numbers, 0, len(n)+1)
	i := 0
	for ; i < len(n) && n[i][1]+1 < from; i++ {
		out = append(out, n[i])
	}
	for ; i < len(n) && n[i][0] <= to+1; i++ {
		from, to = min(from, n[i][0]), max(to, n[i][1])
	}
	out = append(append(out, [2]uint64{from, to}), n[i:]...)
	if len(out) > maxSpans {
		out[1][0] = out[0][0]
		out = out[1:]
	}
	return out
}

// valid tells whether somebody made it up.
func (n numbers) valid() bool {
	for i, s := range n {
		if s[0] > s[1] || i > 0 && n[i-1][1] >= s[0] {
			return false
		}
	}
	return len(n) <= maxSpans
}
