package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/oklog/ulid/v2"
)

var (
	moduleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
	targetName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// plainText is a key or name given by a client: anything without control characters.
	plainText = regexp.MustCompile(`^[^\x00-\x1f\x7f]{1,200}$`)
)

// maxName bounds names of modules and targets.
const maxName = 100

// body is a JSON object, field by field, with what is wrong with it.
type body struct {
	fields  map[string]json.RawMessage
	details map[string]string
	message string // instead of the usual sentence
}

// readBody reads the object that a request carries.
func readBody(w http.ResponseWriter, r *http.Request) (*body, error) {
	data, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, err
	case err != nil:
		w.Header().Set("Connection", "close") // the rest of the body is not waited for
		return nil, &Error{Code: scheduler.CodeBadRequest, Message: "the body did not arrive"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // set by guarded
	return parseBody(data)
}

func parseBody(data []byte) (*body, error) {
	b := &body{details: map[string]string{}}
	if err := json.Unmarshal(data, &b.fields); err != nil || b.fields == nil {
		return nil, &Error{Code: scheduler.CodeBadRequest, Message: "the body is not a JSON object", Details: "invalid_json"}
	}
	return b, nil
}

// has tells whether a field is there and not null.
func (b *body) has(field string) bool {
	raw, ok := b.fields[field]
	return ok && string(raw) != "null"
}

// wrong notes what is wrong with a field.
func (b *body) wrong(field, reason string) { b.details[field] = reason }

// into decodes a field that may be left out.
func (b *body) into(field string, out any) {
	if b.has(field) && json.Unmarshal(b.fields[field], out) != nil {
		b.wrong(field, "invalid")
	}
}

// required gives a text that must be there and fit the pattern.
func (b *body) required(field string, pattern *regexp.Regexp, limit int) string {
	if !b.has(field) || string(b.fields[field]) == "false" {
		b.wrong(field, "required")
		return ""
	}
	return b.text(field, pattern, limit)
}

// text gives a text that may be left out.
func (b *body) text(field string, pattern *regexp.Regexp, limit int) (text string) {
	if !b.has(field) {
		return ""
	}
	b.into(field, &text)
	if b.details[field] == "" && (len(text) > limit || !pattern.MatchString(text)) {
		b.wrong(field, "invalid")
	}
	return text
}

// requestID gives the client's id of the request, "" when it gave none.
func (b *body) requestID() (id string) {
	b.into("requestId", &id)
	if _, err := ulid.ParseStrict(id); b.has("requestId") && err != nil {
		b.wrong("requestId", "invalid")
	}
	return id
}

// maxMillis bounds delays and timeouts: a hundred years.
const maxMillis = 100 * 365 * 24 * 3600 * 1000

// millis gives a whole number of milliseconds, 0 when it is left out.
func (b *body) millis(field string) (ms int64) {
	b.into(field, &ms)
	if ms < 0 || ms > maxMillis {
		b.wrong(field, "invalid")
	}
	return ms
}

// err is the refusal for what was noted.
func (b *body) err() error {
	if len(b.details) == 0 {
		return nil
	}
	return &Error{Code: scheduler.CodeBadRequest, Details: b.details,
		Message: cmp.Or(b.message, "fields of the body are missing or not as they should be")}
}

// number reads a whole number from the query.
func number(r *http.Request, name string, fallback, least, most int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, invalid(name, "invalid", "parameter "+name+" takes a whole number of "+
			strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10))
	}
	return n, nil
}

// query gives a parameter that must be there.
func query(r *http.Request, name string) (string, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return "", invalid(name, "required", "parameter "+name+" is missing")
	}
	return v, nil
}

// do has a request decided and notes the index of the decision in the reply's headers.
func (s *Server) do(w http.ResponseWriter, r *http.Request, req scheduler.Request) (scheduler.Answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), decideTime)
	defer cancel()
	reply, err := s.Backend.Do(ctx, req)
	if errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil {
		return scheduler.Answer{}, &Error{Code: CodeNoQuorum, Message: "no majority of the voting nodes decided on this in time; it may still be decided",
			Hint: "repeat it with the same requestId"}
	}
	if err != nil {
		return scheduler.Answer{}, err
	}
	if reply.Err != nil {
		return scheduler.Answer{}, reply.Err
	}
	w.Header().Set("Coflux-Index", strconv.FormatUint(reply.Index, 10))
	return reply.Answer, nil
}

// doOnce has a request decided that must not be done twice. Where the client gave no id one is made here; should log time
// be far from this machine's clock, so that a fresh id counts as expired, it is made once more, from log time.
func (s *Server) doOnce(w http.ResponseWriter, r *http.Request, req scheduler.Request, id *string) (scheduler.Answer, error) {
	if *id != "" {
		return s.do(w, r, req)
	}
	*id = ulid.Make().String()
	answer, err := s.do(w, r, req)
	var refused *scheduler.Error
	if !errors.As(err, &refused) || refused.Code != scheduler.CodeExpired {
		return answer, err
	}
	at, perr := strconv.ParseUint(refused.Details["logTime"], 10, 64)
	if perr != nil {
		return answer, err
	}
	*id = ulid.MustNew(min(at, ulid.MaxTime()), rand.Reader).String()
	return s.do(w, r, req)
}
