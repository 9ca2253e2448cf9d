package gossip

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/memberlist"
)

// The longest values a node may advertise. Together, with the JSON around
// them, they stay within memberlist.MetaMaxSize (512 bytes); a golden test
// holds the sum.
const (
	maxID      = 64
	maxName    = 64
	maxBoot    = 64
	maxVersion = 64
	maxHost    = 128
	maxCluster = 64
	hashLen    = 16
)

// meta is what a node says about itself in its NodeMeta. Unknown fields of a
// later version are ignored, missing ones are zero.
type meta struct {
	Name      string `json:"n,omitempty"`
	Boot      string `json:"b,omitempty"`
	Version   string `json:"v,omitempty"`
	Host      string `json:"h,omitempty"` // only when it is a name: addresses are in the alive message
	PeerPort  uint16 `json:"p,omitempty"`
	HTTPPort  uint16 `json:"w,omitempty"`
	ClusterID string `json:"c,omitempty"`
	HasState  bool   `json:"s,omitempty"`
	Expect    uint16 `json:"e,omitempty"`
	Manifest  string `json:"m,omitempty"`
}

// encode never returns more than memberlist.MetaMaxSize bytes for a checked meta.
func (m meta) encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("cannot encode what this node says about itself: %w", err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// check refuses values that would not fit, or that would have to be escaped
// on the wire or on a terminal.
func (m meta) check() error {
	for _, f := range []struct {
		what, value string
		max         int
	}{
		{"name", m.Name, maxName},
		{"boot id", m.Boot, maxBoot},
		{"version", m.Version, maxVersion},
		{"advertised host", m.Host, maxHost},
		{"cluster id", m.ClusterID, maxCluster},
		{"manifest hash", m.Manifest, hashLen},
	} {
		if err := checkText(f.what, f.value, f.max); err != nil {
			return err
		}
	}
	return nil
}

func checkText(what, value string, limit int) error {
	if len(value) > limit {
		return fmt.Errorf("the node's %s has %d bytes, at most %d fit into gossip: use a shorter one", what, len(value), limit)
	}
	if !utf8.ValidString(value) || strings.ContainsAny(value, `"\`) ||
		strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("the node's %s %q has a quote, a backslash or an unprintable character: use plain text", what, value)
	}
	return nil
}

// decodeMeta reads what another node, maybe of another version, says about itself.
func decodeMeta(b []byte) (meta, error) {
	var m meta
	if len(b) > memberlist.MetaMaxSize {
		return meta{}, fmt.Errorf("the node's metadata has %d bytes, more than gossip allows", len(b))
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return meta{}, fmt.Errorf("cannot read the node's metadata (is it another version?): %w", err)
	}
	if err := m.check(); err != nil {
		return meta{}, fmt.Errorf("cannot use the node's metadata: %w", err)
	}
	return m, nil
}
