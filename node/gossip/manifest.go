package gossip

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxManifest is the largest manifest, compressed, that a node may carry.
	MaxManifest = 1 << 20
	// maxPlain bounds what a small compressed manifest may unfold to.
	maxPlain = 16 << 20
	// inlineManifest is the largest one that rides on every push/pull; larger
	// ones move by fetch alone, so that a state sync stays cheap.
	inlineManifest = 64 << 10

	stateMagic   = 'M'
	stateVersion = 1
)

var errState = errors.New("the gossip state of the other node is malformed or of another version")

// Hash is the name by which a manifest's content is announced and fetched.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])[:hashLen]
}

// manifest is one node's content, as it travels in push/pull state:
//
//	'M' version | id length (1) id | hash (16) | length (4, big endian) gzip bytes
type manifest struct {
	ID   string
	Hash string
	Gzip []byte
}

func encodeState(m manifest) []byte {
	b := make([]byte, 0, 3+len(m.ID)+hashLen+4+len(m.Gzip))
	b = append(b, stateMagic, stateVersion, byte(len(m.ID)))
	b = append(b, m.ID...)
	b = append(b, m.Hash...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Gzip)))
	return append(b, m.Gzip...)
}

// decodeState trusts nothing; bytes after the manifest belong to later versions.
func decodeState(b []byte) (manifest, error) {
	if len(b) < 3 || b[0] != stateMagic || b[1] != stateVersion {
		return manifest{}, errState
	}
	idLen := int(b[2])
	b = b[3:]
	if idLen > maxID || len(b) < idLen+hashLen+4 {
		return manifest{}, errState
	}
	m := manifest{ID: string(b[:idLen]), Hash: string(b[idLen : idLen+hashLen])}
	b = b[idLen+hashLen:]
	size := binary.BigEndian.Uint32(b)
	b = b[4:]
	if size > MaxManifest || uint64(size) > uint64(len(b)) {
		return manifest{}, errState
	}
	m.Gzip = bytes.Clone(b[:size])
	return m, nil
}

func compress(content []byte) ([]byte, error) {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(content); err != nil {
		return nil, fmt.Errorf("cannot compress the manifest: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress the manifest: %w", err)
	}
	if len(content) > maxPlain || buf.Len() > MaxManifest {
		return nil, fmt.Errorf("the manifest has %d bytes compressed, at most %d are carried: declare fewer targets on this node", buf.Len(), MaxManifest)
	}
	return buf.Bytes(), nil
}

// uncompress returns the content only if it is what the hash names.
func uncompress(b []byte, hash string) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("cannot unfold manifest %s: %w", hash, err)
	}
	content, err := io.ReadAll(io.LimitReader(r, maxPlain+1))
	if err != nil {
		return nil, fmt.Errorf("cannot unfold manifest %s: %w", hash, err)
	}
	if err := verify(content, hash); err != nil {
		return nil, err
	}
	return content, nil
}

func verify(content []byte, hash string) error {
	if len(content) > maxPlain {
		return fmt.Errorf("manifest %s unfolds to more than %d bytes", hash, maxPlain)
	}
	if got := Hash(content); got != hash {
		return fmt.Errorf("manifest %s arrived with the content of %s", hash, got)
	}
	return nil
}
