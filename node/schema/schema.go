package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// location is where a schema lies for its own references.
const location = "input:///schema"

// Check says in a sentence why a text is not a JSON Schema that answers can be checked against.
func Check(text string) error {
	doc, err := object(text)
	if err != nil {
		return err
	}
	return within(patience, func(over *atomic.Bool) error {
		_, err := compile(doc, over)
		return err
	})
}

// CheckInitial says why a value cannot be what an answer is started from: it has to satisfy the schema, but for what is
// required and missing in it.
func CheckInitial(text string, value []byte) error {
	doc, err := object(text)
	if err != nil {
		return err
	}
	relax(doc)
	return validate(patience, doc, value)
}

// Validate says why a value does not satisfy a schema: a *Violation, or another error if it cannot be checked.
func Validate(text string, value []byte) error {
	doc, err := object(text)
	if err != nil {
		return err
	}
	return validate(patience, doc, value)
}

func object(text string) (map[string]any, error) {
	doc, err := parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if o, ok := doc.(map[string]any); ok {
		return o, nil
	}
	return nil, errors.New("a schema is a JSON object")
}

func validate(limit time.Duration, doc map[string]any, value []byte) error {
	v, err := parse(value)
	if err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return within(limit, func(over *atomic.Bool) error {
		s, err := compile(doc, over)
		if err != nil {
			return err
		}
		var wrong *jsonschema.ValidationError
		if err := s.Validate(v); errors.As(err, &wrong) {
			return newViolation(wrong)
		} else if err != nil {
			return err
		}
		return nil
	})
}

func compile(doc map[string]any, over *atomic.Bool) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.AssertFormat()
	for _, f := range []jsonschema.Format{{Name: "time", Validate: times("15:04")}, {Name: "date-time", Validate: times("2006-01-02T15:04")}} {
		c.RegisterFormat(&f)
	}
	c.AssertVocabs()
	c.RegisterVocabulary(&jsonschema.Vocabulary{URL: "ends", Compile: func(*jsonschema.CompilerContext, map[string]any) (jsonschema.SchemaExt, error) {
		return ends{over}, nil
	}})
	if err := c.AddResource(location, doc); err != nil {
		return nil, err
	}
	s, err := c.Compile(location)
	if err != nil {
		return nil, errors.New(oneLine(err))
	}
	return s, nil
}

// ends is part of each schema: it ends a check that nobody waits for any more, by a panic, as the library knows no other way.
type ends struct{ over *atomic.Bool }

func (e ends) Validate(*jsonschema.ValidatorContext, any) {
	if e.over.Load() {
		panic("it takes too long")
	}
}

// oneLine is the cause of what is wrong with a schema: the library puts it into the last line.
func oneLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	return strings.ReplaceAll(strings.TrimLeft(lines[len(lines)-1], " -"), location, "the schema")
}

// noLoader keeps schemas from having anything fetched or read: the standard's own are built in.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a schema can only refer to itself, not to %s", url)
}

// times is the format of a time: seconds may be missing, as browsers leave them out, and the offset from UTC, as Python does.
func times(layout string) func(any) error {
	return func(v any) error {
		text, ok := v.(string)
		if !ok {
			return nil
		}
		for _, end := range []string{"", ":05", "Z07:00", ":05Z07:00"} {
			if _, err := time.Parse(layout+end, strings.ToUpper(text)); err == nil {
				return nil
			}
		}
		return fmt.Errorf("want the form %s:05", layout)
	}
}

// relax takes away what a schema requires to be there, in itself and what lies in it, but not in what it refers to.
func relax(schema any) {
	switch s := schema.(type) {
	case []any:
		for _, each := range s {
			relax(each)
		}
	case map[string]any:
		if _, ok := s["required"].([]any); ok {
			delete(s, "required")
		}
		for name, each := range s {
			switch name {
			case "$defs", "definitions", "const", "enum", "default", "examples":
			default:
				relax(each)
			}
		}
	}
}

// Bounds of numbers: a check computes with them exactly, so that a few bytes could stand for gigabytes.
const (
	maxDigits   = 1000
	maxExponent = 1000
)

// parse reads JSON with numbers as text.
func parse(data []byte) (any, error) {
	if err := checkNumbers(data); err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(data))
}

func checkNumbers(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n, ok := token.(json.Number)
		if !ok {
			continue
		}
		if len(n) > maxDigits {
			return fmt.Errorf("a number of %d digits is too long to be checked", len(n))
		}
		if i := strings.IndexAny(string(n), "eE"); i >= 0 {
			if e, err := strconv.Atoi(string(n[i+1:])); err != nil || e > maxExponent || e < -maxExponent {
				return fmt.Errorf("the number %s is too large or too small to be checked", cut(string(n)))
			}
		}
	}
}

func cut(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}

// patience is how long a check may take: schemas can be written that take for ever.
const patience = 5 * time.Second

// checking bounds the checks that go on at once.
var checking = make(chan struct{}, 4)

// within does a check in bounded time. A panic of the library is its error.
func within(limit time.Duration, check func(over *atomic.Bool) error) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case checking <- struct{}{}:
	case <-timer.C:
		return errors.New("other schemas keep this node busy: try again, or at another node")
	}
	done, over := make(chan error, 1), new(atomic.Bool)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("the schema cannot be used: %v", p)
			}
			<-checking
		}()
		done <- check(over)
	}()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		over.Store(true)
		return fmt.Errorf("the check against the schema took longer than %s", limit)
	}
}
