package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"
)

// CodeForbidden refuses what the caller is not allowed to do.
const CodeForbidden = "forbidden"

// rotate answers as if storage had been rotated. Histories here are not kept in epochs, so there is nothing to do.
func (s *Server) rotate(w http.ResponseWriter, r *http.Request) error {
	if !s.super(r) {
		return &Error{Code: CodeForbidden, Message: "only the super token allows this",
			Hint: "send it as Authorization: Bearer TOKEN; a node knows it by --super-token-hash"}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// super tells whether a request bears the super token. Without a configured one nobody does.
func (s *Server) super(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	want, err := hex.DecodeString(s.SuperTokenHash)
	if !ok || err != nil || len(want) != sha256.Size {
		return false
	}
	got := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], want) == 1
}

// ValidTokenHash tells whether a text is the SHA-256 of a token, in hex.
func ValidTokenHash(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == sha256.Size
}
