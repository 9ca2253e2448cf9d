package api

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

func TestRotationNeedsTheSuperToken(t *testing.T) {
	t.Parallel()
	hash := sha256.Sum256([]byte("right"))
	for _, tt := range []struct {
		name, hash string
		header     []string
		status     int
	}{
		{"the token", hex.EncodeToString(hash[:]), []string{"Authorization", "Bearer right"}, 204},
		{"another token", hex.EncodeToString(hash[:]), []string{"Authorization", "Bearer wrong"}, 403},
		{"the hash itself", hex.EncodeToString(hash[:]), []string{"Authorization", "Bearer " + hex.EncodeToString(hash[:])}, 403},
		{"another scheme", hex.EncodeToString(hash[:]), []string{"Authorization", "Basic right"}, 403},
		{"no token", hex.EncodeToString(hash[:]), nil, 403},
		{"none configured", "", []string{"Authorization", "Bearer "}, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newMemory(t).server(nil)
			s.SuperTokenHash = tt.hash
			for _, path := range []string{"/api/rotate_epoch", "/api/rotate_logs"} {
				for _, body := range []string{"", "{}"} {
					rep := ask(s, "POST", path, body, tt.header...)
					if rep.Code != tt.status {
						t.Errorf("%s: %d %s", path, rep.Code, rep.Body)
					}
					if tt.status != 204 {
						checkRefusal(t, rep, 403, "forbidden", nil)
					}
				}
			}
		})
	}
}
