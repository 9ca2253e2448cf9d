package scheduler

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/coflux-mesh/coflux/consensus/state"
)

// Limits of tags (semantics 6.2).
const (
	maxTagNames  = 10
	maxTagValues = 10
)

var (
	tagName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,20}$`)
	tagValue = regexp.MustCompile(`^[A-Za-z0-9_-]{1,30}$`)
)

// CheckTags says in a sentence what is wrong with tags.
func CheckTags(t state.Tags) error {
	if len(t) > maxTagNames {
		return fmt.Errorf("%d tags are more than the %d that are possible", len(t), maxTagNames)
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if !tagName.MatchString(name) {
			return fmt.Errorf("%q cannot name a tag: use 1 to 20 letters, digits, _ and -", name)
		}
		if len(t[name]) > maxTagValues {
			return fmt.Errorf("the tag %s has %d values, more than the %d that are possible", name, len(t[name]), maxTagValues)
		}
		for _, value := range t[name] {
			if !tagValue.MatchString(value) {
				return fmt.Errorf("%q cannot be a value of the tag %s: use 1 to 30 letters, digits, _ and -", value, name)
			}
		}
	}
	return nil
}

// ParseTags reads tags of the form name:value, or name for name:true, as people write them.
func ParseTags(items []string) (state.Tags, error) {
	tags := state.Tags{}
	for _, item := range items {
		name, value, found := strings.Cut(strings.TrimSpace(item), ":")
		if !found {
			value = "true"
		}
		if !slices.Contains(tags[name], value) {
			tags[name] = append(tags[name], value)
		}
	}
	if len(tags) == 0 {
		return nil, nil
	}
	return tags, CheckTags(tags)
}

// effective gives the tags that a step's executions need: the step's replace the run's name by name, and a name without
// values asks for nothing.
func effective(run *state.Run, s *state.Step) state.Tags {
	if len(run.Requires)+len(s.Requires) == 0 {
		return nil
	}
	tags := state.Tags{}
	maps.Copy(tags, run.Requires)
	maps.Copy(tags, s.Requires)
	maps.DeleteFunc(tags, func(_ string, values []string) bool { return len(values) == 0 })
	return tags
}

// fits tells whether a session may run what has the requirements: it has one value of each, and each tag that it
// accepts is required with a value that it accepts.
func fits(s *state.Session, required []state.Requirement) bool {
	for _, r := range required {
		if !provides(s, r) {
			return false
		}
	}
	return accepts(s, required)
}

// provides tells whether a session has one of the values that are asked for.
func provides(s *state.Session, r state.Requirement) bool {
	return overlap(s.Provides[r.Name], r.Values) || overlap(s.Accepts[r.Name], r.Values)
}

// accepts tells whether everything that a session insists on is required.
func accepts(s *state.Session, required []state.Requirement) bool {
	for name, values := range s.Accepts {
		if !slices.ContainsFunc(required, func(r state.Requirement) bool { return r.Name == name && overlap(values, r.Values) }) {
			return false
		}
	}
	return true
}

// knows tells whether a session has any value of a tag.
func knows(s *state.Session, name string) bool {
	return len(s.Provides[name])+len(s.Accepts[name]) > 0
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(value string) bool { return slices.Contains(b, value) })
}

// NoSession says in a sentence why no session could take what is queued in a class, however many slots were free; "" when
// one could. It knows the replicated state alone, so any node can say it.
func NoSession(v *state.View, c state.Class) string {
	what := fmt.Sprintf("the %s %s/%s", c.Type, c.Module, c.Target)
	var serving []*state.Session
	stopping := false
	for s := range v.SessionsByWorkspace(c.Workspace) {
		switch {
		case s.State == state.SessionLost || !s.Serves(c):
		case s.State == state.SessionDraining:
			stopping = true
		default:
			serving = append(serving, s)
		}
	}
	required := state.ParseRequires(c.Requires)
	switch {
	case slices.ContainsFunc(serving, func(s *state.Session) bool { return fits(s, required) }):
		return ""
	case len(serving) == 0 && stopping:
		return "the only nodes that serve " + what + " are being stopped"
	case len(serving) == 0:
		return "no node serves " + what + " in this workspace"
	}
	for _, r := range required {
		if !slices.ContainsFunc(serving, func(s *state.Session) bool { return provides(s, r) }) {
			return "no node that serves " + what + " provides " + tagText(r)
		}
	}
	var texts []string
	for _, r := range required {
		texts = append(texts, tagText(r))
	}
	all := func(s *state.Session) bool {
		return !slices.ContainsFunc(required, func(r state.Requirement) bool { return !provides(s, r) })
	}
	if !slices.ContainsFunc(serving, all) {
		return "no node that serves " + what + " provides all of " + strings.Join(texts, " and ")
	}
	if len(required) == 0 {
		return "the nodes that serve " + what + " accept only work that requires tags of theirs (--accepts), and this requires none"
	}
	return "the nodes that serve " + what + " and provide " + strings.Join(texts, " and ") + " accept only work that requires other tags too (--accepts)"
}

func tagText(r state.Requirement) string {
	return r.Name + ":" + strings.Join(r.Values, " or "+r.Name+":")
}
