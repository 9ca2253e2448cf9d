package scheduler

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// Params selects arguments of a call: all of them, or those at Indexes, in that order.
type Params struct {
	All     bool
	Indexes []int
}

// maxParams bounds what Params may select.
const maxParams = 100

// check refuses indexes that no call can have.
func (p Params) check(option string) error {
	if len(p.Indexes) > maxParams || slices.ContainsFunc(p.Indexes, func(i int) bool { return i < 0 || i >= maxParams }) {
		return refuse(CodeBadRequest, "%s: arguments are named by at most %d indexes of 0 to %d", option, maxParams, maxParams-1)
	}
	return nil
}

// argumentsKey is what two calls have in common that may share a result: the SHA-256, hex, of namespace, version and the
// selected arguments (semantics 7). A value counts by its content, wherever it is held, a handle in it by its id, a fragment
// by its format, bytes and metadata.
func argumentsKey(namespace, version string, p Params, arguments []state.Value) string {
	h := sha256.New()
	writeText(h, namespace)
	writeText(h, version)
	if p.All {
		for i := range arguments {
			writeValue(h, &arguments[i])
		}
	}
	for _, i := range p.Indexes {
		if i < len(arguments) {
			writeValue(h, &arguments[i])
		} else {
			writeText(h, "absent")
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func writeValue(h hash.Hash, v *state.Value) {
	content := v.BlobKey
	if content == "" {
		sum := sha256.Sum256(v.Data)
		content = hex.EncodeToString(sum[:])
	}
	writeText(h, content)
	writeNumber(h, len(v.References))
	for _, r := range v.References {
		if r.Kind == state.KindAsset {
			r = state.Reference{Kind: r.Kind, ID: r.ID} // the rest may not be filled in yet
		}
		writeText(h, r.Kind)
		writeText(h, r.ID)
		writeText(h, r.Format)
		writeText(h, r.BlobKey)
		writeText(h, string(r.Metadata))
	}
}

// writeText writes a text so that no two lists of texts are written alike.
func writeText(h io.Writer, text string) {
	writeNumber(h, len(text))
	_, _ = io.WriteString(h, text)
}

func writeNumber(h io.Writer, n int) {
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
}
