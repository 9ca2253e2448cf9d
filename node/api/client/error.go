package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Codes that a caller may want to act upon.
const (
	CodeNotFound     = "not_found"
	CodeBadRequest   = "bad_request"
	CodeNoQuorum     = "no_quorum"
	CodeOverloaded   = "overloaded"
	CodeNotSupported = "not_supported"
)

// Error is a refusal by the node.
type Error struct {
	Status     int             // HTTP status
	Code       string          // as in the "error" field; empty if the body was not an error document
	Message    string          // one sentence
	Hint       string          // what to do, or empty
	Details    json.RawMessage // or nil
	RetryAfter time.Duration   // from the header, or 0
}

// Error is "<code>: <message>", with the details behind it when there are any.
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("HTTP %d: %s", e.Status, e.Message)
	}
	s := e.Code + ": " + e.Message
	if len(e.Details) > 0 && string(e.Details) != "null" {
		s += " (details: " + string(e.Details) + ")"
	}
	return s
}

// IsCode reports whether err is a refusal with this code.
func IsCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

func decodeError(res *http.Response, body []byte) error {
	e := &Error{Status: res.StatusCode}
	var doc struct {
		Error   string          `json:"error"`
		Message string          `json:"message"`
		Hint    string          `json:"hint"`
		Details json.RawMessage `json:"details"`
	}
	if json.Unmarshal(body, &doc) == nil && doc.Error != "" {
		e.Code, e.Message, e.Hint, e.Details = doc.Error, doc.Message, doc.Hint, doc.Details
	} else {
		e.Message = strings.TrimSpace(string(body))
	}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}
