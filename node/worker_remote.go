package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coder/websocket"
	"github.com/coflux-mesh/coflux/node/api/client"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/pyexec"
)

// dial opens the stream to the node. A refusal that another try would not change ends the worker.
func (w *Worker) dial(ctx context.Context) (stream, error) {
	ctx, cancel := context.WithTimeout(ctx, stalled)
	defer cancel()
	at, header, hc := w.cfg.Client.WorkerStream()
	conn, res, err := websocket.Dial(ctx, at, &websocket.DialOptions{HTTPClient: hc, HTTPHeader: header,
		CompressionMode: websocket.CompressionDisabled})
	if err == nil {
		return newSocketStream(conn), nil
	}
	if res != nil && res.StatusCode/100 == 4 && res.StatusCode != http.StatusTooManyRequests {
		refused := client.Refusal(res)
		w.halt(fmt.Errorf("worker error: %w", refused))
		return nil, refused
	}
	return nil, fmt.Errorf("open the stream to the node: %w", err)
}

// tellGuard gives the guard what to say when this process has died: that nothing of the present session is alive. A node
// behind TLS cannot be told by the few bytes that a guard writes; there the lease has to run out.
func (w *Worker) tellGuard() {
	u, err := url.Parse(w.cfg.Client.Base)
	if err != nil || u.Scheme != "http" {
		return
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "80")
	}
	if client.IsLocalhost(u.Hostname()) {
		address = net.JoinHostPort("127.0.0.1", portOf(address))
	}
	body, _ := json.Marshal(map[string]string{"sessionId": w.agent.Session()}) // strings marshal
	_, header, _ := w.cfg.Client.WorkerStream()
	header.Set("Content-Type", "application/json")
	text := "POST /api/worker_died HTTP/1.1\r\nHost: " + u.Host + "\r\nConnection: close\r\n"
	for name := range header {
		text += name + ": " + header.Get(name) + "\r\n"
	}
	text += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	w.pool.SetPeers([]pyexec.Statement{{Network: "tcp", Address: address, Data: []byte(text), Want: "HTTP/1.1 20"}})
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // made by net.JoinHostPort or by a URL with a port
	return port
}

// remoteBlobs are the mesh's blobs as a worker sees them: all behind one node, which copies them to others by itself.
type remoteBlobs struct{ client *client.Client }

var _ blob.Peers = remoteBlobs{}

// Live is the node, whatever it is called.
func (remoteBlobs) Live() []string { return []string{"the node"} }

// VotersMajority is two here: the worker's own copy and that of the node, which answers once the mesh has enough.
func (remoteBlobs) VotersMajority() int { return 2 }

// Put hands a blob over; the node answers when a majority of the voters has it.
func (r remoteBlobs) Put(ctx context.Context, _, key string, open func() (io.ReadCloser, error)) error {
	body, err := open()
	if err != nil {
		return err
	}
	defer body.Close()
	err = r.client.UploadBlob(ctx, key, body)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusInsufficientStorage {
		err = fmt.Errorf("%w there: %w", blob.ErrFull, err)
	}
	return err
}

// Get fetches a blob.
func (r remoteBlobs) Get(ctx context.Context, _, key string) (io.ReadCloser, error) {
	body, err := r.client.OpenBlob(ctx, key)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return nil, blob.ErrNotFound
	}
	return body, err
}

// workerBlobs are the mesh's blobs as an agent-only process sees them.
type workerBlobs struct {
	*blob.Mesh
	local  *blob.Local
	client *client.Client
}

// Path leases the copy that is here, so that dropUnused leaves it to the body that is given it.
func (b workerBlobs) Path(ctx context.Context, key string) (string, error) {
	if _, err := b.local.Hold(ctx, []string{key}); err != nil {
		return "", err
	}
	return b.Mesh.Path(ctx, key)
}

// trimEvery is how often a worker looks for copies that it does not need any more.
const trimEvery = 10 * time.Minute

// dropUnused removes copies of blobs that were not used for the time of a lease, while nothing runs that could have been given their files:
// the mesh has its own.
func dropUnused(ctx context.Context, local *blob.Local, idle func() bool) (removed int, err error) {
	for key, err := range local.Unleased() {
		if err != nil || !idle() {
			return removed, err
		}
		gone, err := local.Remove(ctx, key)
		if err != nil {
			return removed, err
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

func (w *Worker) trimBlobs(ctx context.Context) {
	for pause(ctx, trimEvery) {
		removed, err := dropUnused(ctx, w.local, w.agent.idleNow)
		if err != nil {
			w.log.Warn("copies of blobs that are not needed stay", "error", err)
		}
		if removed > 0 {
			w.log.Debug("copies of blobs were removed that are not needed", "removed", removed)
		}
	}
}

// Hold has the node lease blobs.
func (b workerBlobs) Hold(ctx context.Context, keys []string) error {
	for some := range slices.Chunk(keys, holdAtOnce) {
		err := b.client.HoldBlobs(ctx, some)
		var refused *client.Error
		if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
			return fmt.Errorf("%w: %s", blob.ErrNotFound, refused.Message)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holdAtOnce is how many blobs a worker has the node lease in one request.
const holdAtOnce = 5000
