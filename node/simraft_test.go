package node

import (
	"reflect"
	"unsafe"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/hashicorp/raft"
)

// unpipelined has a host send one message at a time to each follower. The pipeline of hashicorp/raft 1.7.3 can hang for
// ever: when the reader of responses has ended (a newer term, a lost connection), the sender may already wait for room that
// only the reader would make, and Shutdown waits for the sender. One mesh in fifty meets it here.
func unpipelined(h *consensus.Host) {
	r := reflect.ValueOf(h).Elem().FieldByName("raft").Elem()
	trans := r.FieldByName("trans").Elem().Elem()
	if field := trans.FieldByName("maxInFlight"); trans.Type() == reflect.TypeFor[raft.NetworkTransport]() {
		*(*int)(unsafe.Pointer(field.UnsafeAddr())) = 1
	}
}
