package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coflux-mesh/coflux/node/api/client"
)

// questions asks people.
const questions = `
import datetime
import coflux as cf
import flows
from coflux import Input, Prompt, task, workflow

ORDER = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@task()
def hears(token, answer: Input[datetime.date]):
    flows.effect("start", token)
    got = answer.result()
    flows.effect("end", token)
    return str(got)


@workflow()
def asks(token):
    flows.effect("start", token)
    prompt = Prompt("Ship **{what}** when?", datetime.date, title="When?", requires={"team": "eu"})
    answer = prompt.submit(what=[token])
    child = hears.submit(token + ".1", answer)
    same = prompt.submit(what=[token]) == answer
    got = [str(answer.result()), child.result(), same]
    flows.effect("end", token)
    return got


@workflow()
def order(who):
    return Prompt("An order of {who}", schema=ORDER).with_initial({"a": 1})(who=who)


@workflow()
def declined():
    try:
        return Prompt("Go on?", bool)()
    except cf.InputDismissed as exc:
        return str(exc)


@workflow()
def dismissed():
    return Prompt("Go on?", bool)()


@workflow()
def patient(token):
    flows.effect("start", token)
    with cf.suspense(0):
        try:
            return Prompt("Later?", schema={})()
        except cf.InputDismissed:
            return "dismissed"


@workflow()
def withdrawn():
    question = Prompt("Go on?").submit()
    before = question.poll(default="open")
    question.cancel()
    try:
        return question.result()
    except cf.ExecutionCancelled as exc:
        return [before, str(exc)]


@workflow()
def races():
    question, quick, slow = Prompt("Faster?").submit(), hears.submit("quick", Given()), hears.submit("slow", Prompt("Never").submit())
    winner, rest = cf.select([question, slow, quick], cancel_remaining=True)
    try:
        slow.result()
    except cf.ExecutionCancelled:
        return [winner.result(), rest == [question, slow], question.poll(default="open")]


class Given:
    def result(self):
        return "given"


@workflow()
def wrong():
    errors = []
    for make in (
        lambda: Prompt("t", schema={"type": "strin"}),
        lambda: Prompt("t", schema={"$ref": "http://127.0.0.1:1/"}),
        lambda: Prompt("t").with_initial(1),
        lambda: Prompt("t", int).with_initial("x"),
        lambda: Prompt("other").with_key("k"),
    ):
        Prompt("t").with_key("k").submit()
        try:
            make().submit()
        except RuntimeError as exc:
            errors.append(str(exc).split(": ")[:3])
    for gone in (Input("Rnone/i1"), Input("x")):
        try:
            gone.poll()
        except RuntimeError as exc:
            errors.append(str(exc).split(": ")[:2])
    return errors
`

// pending waits until a question is listed at the node, and gives its id. Others may be asked meanwhile.
func (n *node) pending(run string) (id string) {
	n.m.t.Helper()
	await(n.m.t, patience, func() string {
		for key := range document[map[string]client.InputSummary](n, "inputs", "list", "--run", run) {
			id = key
			return ""
		}
		return "run " + run + " asks nothing"
	})
	return id
}

// refused runs a command that must fail with one line that begins with a code.
func (n *node) refused(code string, args ...string) {
	n.m.t.Helper()
	if o := n.cli(args...); o.status != 1 || o.stdout != "" || !strings.HasPrefix(o.stderr, code+": ") || strings.Contains(o.stderr, "goroutine") {
		n.m.t.Errorf("coflux %s: want the refusal %s\n%s", strings.Join(args, " "), code, o)
	}
}

// TestInputs asks people: a question outlives the leader, is answered through any node, once, and only with what fits.
func TestInputs(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("questions.py", questions)
	for range 3 {
		m.add("--repo", "flows", "--repo", "questions")
	}
	m.ready()
	leader := m.leader()
	run := ""
	for i := 0; ; i++ { // until neither body is on the leader
		if i == 50 {
			t.Fatal("the leader gets work each time")
		}
		token := fmt.Sprint("t", i)
		run = document[struct{ RunID string }](m.others(leader)[i%2], "submit", "questions/asks", `"`+token+`"`, "--no-wait").RunID
		asks, hears := m.begun(token), m.begun(token+".1")
		if m.where(asks) != leader && m.where(hears) != leader {
			break
		}
		leader.said(`^Execution cancelled\.\n$`, "runs", "cancel", run+":1:1")
	}
	input := leader.pending(run)
	leader.killed()
	there, here := m.others(leader)[0], m.others(leader)[1]
	if again := here.pending(run); again != input {
		t.Errorf("after the death of the leader %s is listed, want %s", again, input)
	}
	here.said(`(?s)^Input: R\w+/i1\nTitle: When\?\nKey: \w{16}\n.*Requires: team:eu\nPrompt: Ship \*\*\["t\d+"\]\*\* when\?\n.*Status: pending\n$`, "inputs", "inspect", input)
	here.refused("validation_failed", "inputs", "respond", input, `"tomorrow"`)
	here.refused("validation_failed", "inputs", "respond", input, `5`)
	here.refused("not_found", "inputs", "respond", input+"0", `5`)
	there.said(`^Input 'R\w+/i1' responded\.\n$`, "inputs", "respond", input, `"2026-11-30"`)
	here.refused("already_responded", "inputs", "respond", input, `"2026-12-01"`)
	there.refused("already_responded", "inputs", "dismiss", input)
	for _, n := range m.running() {
		if got := compact(m.value(n, run)); got != `["2026-11-30","2026-11-30",true]` {
			t.Errorf("%s: the run gave %s", n.name, got)
		}
		n.said(`(?s)Status: value\n.*Value: "2026-11-30"\n$`, "inputs", "inspect", input)
		n.said(`^No pending inputs\.\n$`, "inputs", "list", "--run", run)
	}
}

// TestInputsEnd has questions end in all ways, on one node.
func TestInputsEnd(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("questions.py", questions)
	n := m.add("--repo", "flows", "--repo", "questions")
	m.ready()
	begin := func(target string, args ...string) string {
		return document[struct{ RunID string }](n, append([]string{"submit", "questions/" + target, "--no-wait"}, args...)...).RunID
	}
	gives := func(run, want string) {
		t.Helper()
		if got := compact(m.value(n, run)); got != want {
			t.Errorf("run %s gave %s, want %s", run, got, want)
		}
	}
	ordered := begin("order", `"Joe"`)
	question := n.pending(ordered)
	n.refused("validation_failed", "inputs", "respond", question, `{"a":"x"}`)
	n.refused("invalid JSON value", "inputs", "respond", question, `{"a"`)
	n.said(`^\{\n  "responded": true\n\}\n$`, "inputs", "respond", question, `{"a": 2, "more": {"type": "dict"}}`, "-o", "json")
	gives(ordered, `{"type":"dict","items":["a",2,"more",{"type":"dict","items":["type","dict"]}]}`)

	for target, want := range map[string]string{"declined": `"input was dismissed"`, "dismissed": ""} {
		run := begin(target)
		n.said(`dismissed\.\n$`, "inputs", "dismiss", n.pending(run))
		if want != "" {
			gives(run, want)
			continue
		}
		await(t, patience, func() string {
			if o := n.cli("runs", "result", run); !strings.Contains(o.stdout+o.stderr, "InputDismissed") {
				return o.String()
			}
			return ""
		})
	}
	no := begin("declined")
	n.said(`responded\.\n$`, "inputs", "respond", n.pending(no), "false")
	gives(no, "false")
	for i, end := range [][]string{{"respond", "", `{"a":0}`}, {"dismiss", ""}} { // suspended meanwhile
		token := fmt.Sprint("p", i)
		run := begin("patient", `"`+token+`"`)
		end[1] = n.pending(run)
		await(t, patience, func() string {
			if m.document(n, run).Steps[run+":1"].Executions["1"].Result == nil {
				return "it is not suspended"
			}
			return ""
		})
		if again := n.pending(run); again != end[1] {
			t.Errorf("while it is suspended %s is listed, want %s", again, end[1])
		}
		n.said(`ed\.\n$`, append([]string{"inputs"}, end...)...)
		gives(run, []string{`{"type":"dict","items":["a",0]}`, `"dismissed"`}[i])
		if started, _ := m.counts(); started[token] != 2 {
			t.Errorf("it began %d times, want 2", started[token])
		}
	}
	gives(begin("withdrawn"), `["open","execution was cancelled"]`)
	gives(begin("races"), `["given",true,"open"]`)
	gives(begin("wrong"), `[["input_error","server error","invalid_schema"],["input_error","server error","invalid_schema"],`+
		`["input_error","server error","invalid_initial"],["input_error","server error","invalid_initial"],`+
		`["input_error","server error","input_mismatch"],["select_error","input_not_found"],["select_error","input_not_found"]]`)
}
