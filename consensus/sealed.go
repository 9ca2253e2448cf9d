package consensus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// A small file that must not be believed when damaged:
//
//	one line of JSON
//	crc32c of that line, eight hexadecimal digits

// writeSealed replaces a file so that after a crash either the old or the new content is there.
func writeSealed(path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	body = fmt.Appendf(append(body, '\n'), "%08x\n", crc32.Checksum(body, castagnoli))
	tmp, err := os.CreateTemp(filepath.Dir(path), unfinished)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(body)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// unfinished is how a file is called that is being written.
const unfinished = ".new-*"

// sweepUnfinished removes what processes that were killed while they wrote have left in a data directory.
func sweepUnfinished(dir string) {
	for _, in := range []string{dir, filepath.Join(dir, "raft")} {
		left, _ := filepath.Glob(filepath.Join(in, unfinished)) // the pattern is good
		for _, file := range left {
			os.Remove(file)
		}
	}
}

// readSealed fills v. A missing file is fs.ErrNotExist, a damaged one a DamageError.
func readSealed(path string, v any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	body, sum, ok := bytes.Cut(raw, []byte{'\n'})
	if !ok || string(sum) != fmt.Sprintf("%08x\n", crc32.Checksum(body, castagnoli)) {
		return &DamageError{File: path, Reason: "its content does not fit its checksum"}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &DamageError{File: path, Reason: "its content is of another kind", Err: err}
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
