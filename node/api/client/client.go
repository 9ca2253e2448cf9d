// Package client speaks the HTTP interface of a node.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// APIVersion is the generation of the interface that this client speaks; a node of another one refuses it.
const APIVersion = "0.11"

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
	// readAttempts bounds the retries of reads; a submission has no bound but its context.
	readAttempts = 3
	// maxBody bounds a reply that is kept in memory; run documents are the largest.
	maxBody = 256 << 20
)

// Client calls one node. The zero value of every field but Base is usable; a Client is safe for
// concurrent use and holds no state of its own.
type Client struct {
	Base    string // "http://host:port", without a slash at the end
	Project string // sent as X-Project when not empty
	Token   string // sent as bearer token when not empty

	// HTTPClient carries the calls; nil means http.DefaultClient.
	HTTPClient *http.Client

	// AttemptTimeout bounds one attempt of a call that is not a long poll, so that a frozen node
	// costs one attempt and not the whole call. Zero means 15 s.
	AttemptTimeout time.Duration

	// DialPatience is how long a call keeps dialling a node that it has not reached once; after
	// that it fails. Zero means as long as the context allows (submissions) or a few attempts (reads).
	DialPatience time.Duration

	// Stale makes reads take the node's own copy without asking the leader.
	Stale bool

	// OnStale, when set, lets reads fall back to the node's own copy when the mesh has no quorum;
	// it is called with the age of that copy.
	OnStale func(age time.Duration)

	// OnRetry, when set, is told why a submission is sent again.
	OnRetry func(error)
}

// Transport returns a transport that resolves "localhost" and "*.localhost" to loopback by itself,
// as the project is chosen by sub-domain and not every system resolves those names.
func Transport() *http.Transport {
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil || !IsLocalhost(host) {
				return d.DialContext(ctx, network, addr)
			}
			conn, err := d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			if err == nil {
				return conn, nil
			}
			if conn, err6 := d.DialContext(ctx, network, net.JoinHostPort("::1", port)); err6 == nil {
				return conn, nil
			}
			return nil, err
		},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     60 * time.Second,
		TLSHandshakeTimeout: 5 * time.Second,
	}
}

// IsLocalhost says whether a name means this machine, whatever the system's resolver says.
func IsLocalhost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// call is one request to the node, as often as it has to be sent.
type call struct {
	method, path string
	body         any           // JSON, or []byte as it is
	accept       string        // default application/json
	timeout      time.Duration // of one attempt; 0 = AttemptTimeout, < 0 = none
	idempotent   bool          // may be sent again after an unknown outcome
	untilDone    bool          // sent again until the context ends, on 503 too
}

// reply is an answered call.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do sends a call, again where the call allows it, and turns refusals into *Error.
func (c *Client) do(ctx context.Context, cl call) (*reply, error) {
	payload, err := encodeBody(cl.body)
	if err != nil {
		return nil, fmt.Errorf("encode the body of %s: %w", cl.path, err)
	}
	start, reached := time.Now(), false
	var refused *Error // the last thing that the node said
	for attempt := 1; ; attempt++ {
		rep, err := c.once(ctx, cl, payload)
		if err == nil {
			return rep, nil
		}
		if !isDial(err) {
			reached = true
		}
		if !errors.As(err, &refused) && ctx.Err() != nil && refused != nil {
			return nil, refused
		}
		if ctx.Err() != nil || !c.again(cl, err, attempt, reached, time.Since(start)) {
			return nil, err
		}
		if cl.untilDone && c.OnRetry != nil {
			c.OnRetry(err)
		}
		if !pause(ctx, backoff(attempt, err)) {
			return nil, err
		}
	}
}

// again says whether a call that failed with err is sent once more.
func (c *Client) again(cl call, err error, attempt int, reached bool, spent time.Duration) bool {
	if !cl.idempotent {
		return false
	}
	var refused *Error
	if errors.As(err, &refused) {
		if refused.Status != http.StatusServiceUnavailable {
			return false
		}
		if refused.Code == CodeNoQuorum && !cl.untilDone {
			return false
		}
		return cl.untilDone || attempt < readAttempts
	}
	if !reached && c.DialPatience > 0 {
		return spent < c.DialPatience
	}
	return cl.untilDone || attempt < readAttempts
}

func backoff(attempt int, err error) time.Duration {
	d := firstBackoff << min(attempt-1, 5)
	var refused *Error
	if errors.As(err, &refused) && refused.RetryAfter > 0 {
		d = max(d, refused.RetryAfter)
		return min(d, 5*time.Second)
	}
	return min(d, lastBackoff)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// once sends a call one time.
func (c *Client) once(ctx context.Context, cl call, payload []byte) (*reply, error) {
	timeout := cl.timeout
	if timeout == 0 {
		timeout = c.AttemptTimeout
	}
	if timeout == 0 {
		timeout = 15 * time.Second
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	res, err := c.send(ctx, cl, payload)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("request failed: read the reply to %s: %w", cl.path, err)
	}
	return &reply{status: res.StatusCode, header: res.Header, body: body}, nil
}

// send sends a call one time and returns the open reply if it is a success.
func (c *Client) send(ctx context.Context, cl call, payload []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, cl.method, c.Base+cl.path, bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("request failed: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if cl.accept != "" {
		req.Header.Set("Accept", cl.accept)
	}
	if _, raw := cl.body.([]byte); cl.body != nil && !raw {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.roundTrip(req)
}

// identify says which interface is spoken, in which project and by whom.
func (c *Client) identify(h http.Header) {
	h.Set("X-API-Version", APIVersion)
	if c.Project != "" {
		h.Set("X-Project", c.Project)
	}
	if c.Token != "" {
		h.Set("Authorization", "Bearer "+c.Token)
	}
}

// roundTrip sends a request one time and returns the open reply if it is a success.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	c.identify(req.Header)
	hc := c.HTTPClient
	if hc == nil {
		hc = http.DefaultClient
	}
	res, err := hc.Do(req)
	if err != nil {
		return nil, fmt.Errorf("request failed: %w", err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return nil, decodeError(res, body)
	}
	return res, nil
}

func encodeBody(body any) ([]byte, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case []byte:
		return b, nil
	}
	return json.Marshal(body)
}

// isDial reports whether err means that no byte of the request was sent.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func headerInt(h http.Header, name string) (int64, bool) {
	n, err := strconv.ParseInt(h.Get(name), 10, 64)
	return n, err == nil
}
