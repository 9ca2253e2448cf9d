package e2e

import (
	"bytes"
	"encoding/json"
)

// compact is a JSON text without spaces.
func compact(text string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return text
	}
	return b.String()
}
