package scheduler

import (
	"reflect"
	"testing"
)

// TestSessionOf: whatever request carries a session is an agent's, but for the one that makes it, which a relay never passes on
// as a request.
func TestSessionOf(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		r := k.empty()
		field := reflect.ValueOf(r).Elem().FieldByName("Session")
		if field.IsValid() {
			field.SetString("S1")
		}
		_, opens := r.(*OpenSession)
		session, ok := SessionOf(r)
		if want := field.IsValid() && !opens; ok != want || want && session != "S1" {
			t.Errorf("%s: %q, %v", k.name, session, ok)
		}
	}
}
