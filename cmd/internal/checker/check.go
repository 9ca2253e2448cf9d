package checker

import "fmt"

// Status is what is known of a promise after a look at a history.
type Status string

// The statuses.
const (
	Kept       Status = "ok"
	Violated   Status = "violated"
	NotChecked Status = "not checked"
)

// Verdict on one promise.
type Verdict struct {
	Invariant, Promise string
	Status             Status
	// Looked is the number of facts that were looked at.
	Looked int
	// Problems are sentences; at most maxProblems of Found.
	Problems []string
	Found    int
}

const maxProblems = 20

// finding collects what a check sees.
type finding struct {
	looked   int
	found    int
	problems []string
}

func (f *finding) look() { f.looked++ }

func (f *finding) problem(format string, args ...any) {
	f.found++
	if len(f.problems) < maxProblems {
		f.problems = append(f.problems, fmt.Sprintf(format, args...))
	}
}

// checks is the table of contents.
var checks = []struct {
	invariant, promise string
	check              func(*History, *finding)
}{
	{"I1", "an acknowledged submit survives", checkAcknowledged},      // submits.go
	{"I2", "nothing without a cause", checkCauses},                    // submits.go
	{"I3", "one run per idempotency key", checkKeys},                  // submits.go
	{"I4", "one result, the first, for ever", checkResults},           // results.go
	{"I5", "at most one body per execution", checkBodies},             // bodies.go
	{"I6", "the fenced change nothing", checkFencing},                 // stream.go
	{"I7", "everything comes to an end", checkEnds},                   // results.go
	{"I8", "a handle yields its own child's outcome", checkHandles},   // results.go
	{"I9", "cancellation reaches all", checkCancellation},             // stream.go
	{"I10", "attempts as configured", checkAttempts},                  // bodies.go
	{"I11", "a link leads to an equal call", checkLinks},              // links.go
	{"I13", "default reads are linearizable", checkLinearizable},      // linear.go
	{"I14", "replicas of one index are equal", checkDigestsAndFinals}, // results.go
}

// Check decides all promises.
func Check(h *History) []Verdict {
	var out []Verdict
	for _, c := range checks {
		f := &finding{}
		c.check(h, f)
		v := Verdict{Invariant: c.invariant, Promise: c.promise, Status: Kept, Looked: f.looked, Problems: f.problems, Found: f.found}
		if f.looked == 0 {
			v.Status = NotChecked
		}
		if f.found > 0 {
			v.Status = Violated
		}
		out = append(out, v)
	}
	return out
}
