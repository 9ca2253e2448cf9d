package pyexec

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// apiVersion is the protocol generation that is spoken.
const apiVersion = "0.11"

func checkReady(m message) error {
	if m.Method != "ready" {
		return fmt.Errorf("expected ready message, got %s", m.Method)
	}
	var p struct {
		Version string `json:"version"`
	}
	if len(m.Params) > 0 {
		if err := json.Unmarshal(m.Params, &p); err != nil {
			return fmt.Errorf("the adapter's ready message is malformed: %w", err)
		}
	}
	switch p.Version {
	case apiVersion, "dev":
		return nil
	case "":
		return fmt.Errorf("adapter version mismatch: no protocol version was sent, %s is expected; update the coflux package", apiVersion)
	}
	return fmt.Errorf("adapter version mismatch: protocol version %s is expected, but the adapter reports %s; install a coflux package of generation %s", apiVersion, p.Version, apiVersion)
}

func startError(s exitStatus, tail string) error {
	if s.Gone {
		return errGuardGone
	}
	if strings.Contains(tail, "No module named coflux") {
		return errors.New("the coflux package is not installed in this Python environment")
	}
	if tail != "" {
		return fmt.Errorf("the executor ended before it was ready (%s): %s", s, tail)
	}
	return fmt.Errorf("the executor ended before it was ready (%s)", s)
}
