package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// fakeInputs are the inputs that the fake node knows.
var fakeInputs = map[string]string{
	"Rask/i1": `{"key":"ship","template":"Ship **{order}** ({{n}}, {{{n}}}) to {nobody}?","placeholders":{"order":{"type":"raw","data":"box \u001b[31m","references":[]},
		"n":{"type":"raw","data":2.0,"references":[]}},"schema":"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}","initial":{"a":1.0},
		"title":"Ship it?","actions":["Ship","Keep"],"requires":{"team":["eu","us"]},"createdAt":1795417523551,"response":null}`,
	"Rask/i2": `{"key":null,"template":"Go on?","placeholders":{},"schema":null,"initial":null,"title":null,"actions":null,"requires":{},
		"createdAt":1795417523551,"response":{"type":"value","createdAt":1795417525552,"createdBy":null,"value":{"a":[1.50,false]}}}`,
	"Rask/i3": `{"key":null,"template":"Go on?","placeholders":{},"schema":null,"initial":null,"title":null,"actions":null,"requires":{},
		"createdAt":1795417523551,"response":{"type":"value","createdAt":1795417525552,"createdBy":null}}`,
	"Rask/i4": `{"key":null,"template":"Go on?\nReally?","placeholders":{},"schema":null,"initial":null,"title":null,"actions":null,"requires":{},
		"createdAt":1795417523551,"response":{"type":"dismissed","createdAt":1795417525552,"createdBy":null}}`,
}

func (n *fakeNode) input(w http.ResponseWriter, r *http.Request) {
	var body struct{ InputID string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	doc, ok := fakeInputs[body.InputID]
	if !ok {
		refuse(w, 404, `{"error":"not_found","message":""}`)
		return
	}
	_, _ = io.WriteString(w, doc)
}

// endInput takes any answer to the first input but texts; the others have ended.
func (n *fakeNode) endInput(w http.ResponseWriter, r *http.Request) {
	var body map[string]json.RawMessage
	_ = json.NewDecoder(r.Body).Decode(&body)
	if len(body["requestId"]) != 28 {
		refuse(w, 400, `{"error":"bad_request","message":"no request id"}`)
		return
	}
	delete(body, "requestId")
	text, _ := json.Marshal(body)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changed = append(n.changed, strings.TrimPrefix(r.URL.Path, "/api/")+" "+string(text))
	switch id := string(body["inputId"]); {
	case id == `"Rask/i1"` && strings.HasPrefix(string(body["value"]), `"`):
		refuse(w, 422, `{"error":"validation_failed","message":"","details":"type"}`)
	case id == `"Rask/i1"`:
		_, _ = io.WriteString(w, "{}")
	case fakeInputs[strings.Trim(id, `"`)] != "":
		refuse(w, 409, `{"error":"already_responded","message":""}`)
	default:
		refuse(w, 404, `{"error":"not_found","message":""}`)
	}
}
