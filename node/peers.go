package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/hashicorp/go-msgpack/v2/codec"
)

// peers asks other nodes over the peer port. Nodes are named by id; where one is now is looked up at each dial.
type peers struct {
	network consensus.Network
	lookup  func(id string) (addr string, ok bool)
	client  *http.Client
}

func newPeers(network consensus.Network, lookup func(id string) (string, bool)) *peers {
	p := &peers{network: network, lookup: lookup}
	p.client = &http.Client{
		Transport: &http.Transport{
			DialContext: p.dial, MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute, DisableCompression: true,
			ResponseHeaderTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p
}

func (p *peers) close() { p.client.CloseIdleConnections() }

// dial connects to the node whose id is the host of the URL.
func (p *peers) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	id, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	at, ok := p.lookup(id)
	if !ok {
		return nil, fmt.Errorf("node %s is not known to gossip", id)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return consensus.DialHTTP(ctx, p.network, at)
}

func peerURL(id, path string, query url.Values) string {
	u := url.URL{Scheme: "http", Host: id, Path: path, RawQuery: query.Encode()}
	return u.String()
}

// errPeerRefused is an answer of a peer that says that it is not the one to ask.
var errPeerRefused = errors.New("the node does not lead")

// peerError is a refusal that asking again would not change.
type peerError struct{ text string }

func (e *peerError) Error() string { return e.text }

// call posts a body and decodes the answer. A peer that does not lead gives errPeerRefused: then nothing was done. After
// any other error but a peerError the outcome is unknown.
func (p *peers) call(ctx context.Context, id, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, peerURL(id, path, nil), bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask node %s: %w", id, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	switch {
	case err != nil:
		return fmt.Errorf("ask node %s: %w", id, err)
	case resp.StatusCode == http.StatusMisdirectedRequest:
		return errPeerRefused
	case resp.StatusCode == http.StatusServiceUnavailable:
		return errOverloaded
	case resp.StatusCode != http.StatusOK:
		return &peerError{fmt.Sprintf("node %s answered %s: %s", id, resp.Status, bytes.TrimSpace(data))}
	}
	return codec.NewDecoderBytes(data, frameHandle).Decode(answer)
}

// get fetches something; the caller closes it.
func (p *peers) get(ctx context.Context, id, path string, query url.Values) (io.ReadCloser, error) {
	return p.do(ctx, http.MethodGet, id, path, query, nil)
}

// put sends something.
func (p *peers) put(ctx context.Context, id, path string, body io.Reader) error {
	rc, err := p.do(ctx, http.MethodPut, id, path, nil, body)
	if err != nil {
		return err
	}
	return rc.Close()
}

// errAbsent is a peer's 404, errNoRoom its 507.
var (
	errAbsent = errors.New("not found there")
	errNoRoom = errors.New("the node has no room")
)

func (p *peers) do(ctx context.Context, method, id, path string, query url.Values, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, peerURL(id, path, query), body)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask node %s: %w", id, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, errAbsent
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode == http.StatusInsufficientStorage {
		return nil, fmt.Errorf("%w: %s", errNoRoom, bytes.TrimSpace(text))
	}
	return nil, fmt.Errorf("ask node %s: it answered %s: %s", id, resp.Status, bytes.TrimSpace(text))
}
