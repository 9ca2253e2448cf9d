package consensus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"syscall"
)

// checkBolt walks the pages of a bbolt file before bbolt does. bbolt checks its tree at open on a goroutine of its own,
// where a damaged page ends the process with a stack trace, and it reads a page whose count of entries was damaged as if
// the rest had never been there. Pages carry no checksum, but they are written without gaps: header, elements, then key
// and value of each element in order, so a damaged count, position or size does not add up.
//
//	page     id u64 | flags u16 | count u16 | overflow u32
//	branch   pos u32 | ksize u32 | page u64                    per element; pos counts from the element
//	leaf     flags u32 | pos u32 | ksize u32 | vsize u32       per element; flags 1 = the value is a bucket
//	bucket   root u64 | sequence u64 | page, when root is 0
//	meta     magic u32 | version u32 | page size u32 | flags u32 | root u64 | sequence u64 | freelist u64 | end u64 |
//	         transaction u64 | fnv64a of what stands before u64
//
// Both metas must be right: bbolt goes back to the older one, and so loses the last commit, where the newer is damaged.
func checkBolt(file string) error {
	raw, err := mapFile(file)
	if err != nil || len(raw) == 0 {
		return err
	}
	defer syscall.Munmap(raw)
	c := &boltCheck{raw: raw, seen: map[uint64]bool{}}
	root, err := c.metas()
	if err == nil {
		err = c.page(root, nil, nil)
	}
	if err != nil {
		return &DamageError{File: file, Reason: "its pages do not fit together", Err: err}
	}
	return nil
}

// mapFile maps a file to read it; a missing or empty one is nothing.
func mapFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	raw, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the log %s: %w", file, err)
	}
	return raw, nil
}

const (
	boltMagic      = 0xED0CDAED
	boltHeader     = 16
	boltElement    = 16
	boltBranch     = 0x01
	boltLeaf       = 0x02
	boltBucketLeaf = 0x01
)

type boltCheck struct {
	raw  []byte
	size uint64 // of a page
	end  uint64 // the first page that was never used
	seen map[uint64]bool
}

var little = binary.LittleEndian

// metas verifies both and returns the root of the newer one.
func (c *boltCheck) metas() (root uint64, err error) {
	if len(c.raw) < boltHeader+64 {
		return 0, errors.New("the file ends in its first page")
	}
	c.size = uint64(little.Uint32(c.raw[boltHeader+8:]))
	if c.size < 512 || c.size > 1<<20 || uint64(len(c.raw)) < 2*c.size {
		return 0, fmt.Errorf("the first meta speaks of pages of %d bytes", c.size)
	}
	newest := uint64(0)
	for i := range uint64(2) {
		m := c.raw[i*c.size+boltHeader:]
		sum := fnv.New64a()
		sum.Write(m[:56])
		if little.Uint32(m) != boltMagic || little.Uint64(m[56:]) != sum.Sum64() {
			return 0, fmt.Errorf("meta %d does not fit its checksum", i)
		}
		if tx := little.Uint64(m[48:]); tx >= newest {
			newest, root, c.end = tx, little.Uint64(m[16:]), little.Uint64(m[40:])
		}
	}
	if c.end > uint64(len(c.raw))/c.size {
		return 0, fmt.Errorf("the file holds %d bytes of %d pages of %d", len(c.raw), c.end, c.size)
	}
	return root, nil
}

// page verifies a page and all below it. Keys lie in [low, high).
func (c *boltCheck) page(id uint64, low, high []byte) error {
	if id < 2 || id >= c.end || c.seen[id] {
		return fmt.Errorf("page %d is out of bounds or used twice", id)
	}
	c.seen[id] = true
	p := c.raw[id*c.size:]
	pages := 1 + uint64(little.Uint32(p[12:]))
	if little.Uint64(p) != id || pages > c.end-id {
		return fmt.Errorf("page %d calls itself %d and is %d pages long", id, little.Uint64(p), pages)
	}
	for i := uint64(1); i < pages; i++ {
		c.seen[id+i] = true
	}
	if err := c.content(p[:pages*c.size], low, high); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (c *boltCheck) content(p []byte, low, high []byte) error {
	count := int(little.Uint16(p[10:]))
	next := boltHeader + count*boltElement
	if next > len(p) {
		return fmt.Errorf("%d elements do not fit", count)
	}
	flags := little.Uint16(p[8:])
	if flags != boltBranch && flags != boltLeaf {
		return fmt.Errorf("it is of the unknown kind %x", flags)
	}
	keys, values := make([][]byte, count), make([][]byte, count)
	for i := range count {
		at := boltHeader + i*boltElement
		e := p[at:]
		pos, ksize, vsize := little.Uint32(e), little.Uint32(e[4:]), uint32(0)
		if flags == boltLeaf {
			pos, ksize, vsize = little.Uint32(e[4:]), little.Uint32(e[8:]), little.Uint32(e[12:])
		}
		if uint64(at)+uint64(pos) != uint64(next) || uint64(next)+uint64(ksize)+uint64(vsize) > uint64(len(p)) {
			return fmt.Errorf("element %d of %d does not begin where the one before it ends", i, count)
		}
		keys[i] = p[next : next+int(ksize)]
		values[i] = p[next+int(ksize) : next+int(ksize+vsize)]
		next += int(ksize + vsize)
		if (i > 0 && bytes.Compare(keys[i], keys[i-1]) <= 0) || (i == 0 && low != nil && bytes.Compare(keys[i], low) < 0) || (high != nil && bytes.Compare(keys[i], high) >= 0) {
			return fmt.Errorf("key %d is out of order", i)
		}
	}
	return c.below(p, flags, keys, values, high)
}

func (c *boltCheck) below(p []byte, flags uint16, keys, values [][]byte, high []byte) error {
	for i := range keys {
		e := p[boltHeader+i*boltElement:]
		var err error
		switch {
		case flags == boltBranch:
			end := high
			if i+1 < len(keys) {
				end = keys[i+1]
			}
			err = c.page(little.Uint64(e[8:]), keys[i], end)
		case little.Uint32(e)&boltBucketLeaf == 0:
		case len(values[i]) < 16:
			err = errors.New("a bucket is too short")
		case little.Uint64(values[i]) != 0:
			err = c.page(little.Uint64(values[i]), nil, nil)
		case len(values[i]) < 16+boltHeader:
			err = errors.New("an inline bucket is too short")
		default:
			err = c.content(values[i][16:], nil, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
