package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
)

// knownFile holds the gossip addresses of the members that were seen last, so that a node that starts again finds them
// though those that it was told to join are away, and the first node, which was told nobody, finds them at all. It is a
// hint: it may be stale or gone.
const knownFile = "gossip-peers.json"

// knownPeers reads what an earlier start has seen.
func knownPeers(dir string) (addresses []string) {
	text, err := os.ReadFile(filepath.Join(dir, knownFile))
	if err != nil || json.Unmarshal(text, &addresses) != nil {
		return nil
	}
	return addresses
}

// rememberPeers writes the members down when they have changed. Those that left on purpose stay as long as gossip lists
// them.
func (n *Node) rememberPeers() {
	if !n.host.HasState() {
		return
	}
	var addresses []string
	for _, m := range n.gossip.Members() {
		if !m.Self && m.GossipAddr != "" {
			addresses = append(addresses, m.GossipAddr)
		}
	}
	slices.Sort(addresses)
	if len(addresses) == 0 || slices.Equal(addresses, n.known) {
		return
	}
	n.known = addresses
	text, _ := json.Marshal(addresses) // strings marshal
	file := filepath.Join(n.dir.Path(), knownFile)
	err := os.WriteFile(file+".new", text, 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		n.log.Debug("the members' addresses were not written down", "error", err)
	}
}
