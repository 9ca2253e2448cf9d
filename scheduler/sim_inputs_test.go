package scheduler_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/coflux-mesh/coflux/consensus/state"
	"github.com/coflux-mesh/coflux/scheduler"
)

// asker is what a body makes of inputs. Its choices are its own, so that bodies which ask nothing are as they would be.
type asker struct {
	rng    *rand.Rand
	left   int // questions still to ask
	inputs []string
	wait   string // the input that it waits for
}

// asks has the body do something about inputs, now and then; false when it does something else.
func (b *simBody) asks() bool {
	a := &b.asker
	n := a.rng.IntN(100)
	switch {
	case a.left > 0 && n < 12:
		a.left--
		b.question()
	case len(a.inputs) > 0 && n < 30:
		a.wait = a.inputs[a.rng.IntN(len(a.inputs))]
	case len(a.inputs) > 0 && n < 33 && !b.calm:
		any := slices.Sorted(maps.Keys(b.oracle.inputs)) // of whatever run and project
		b.request = &scheduler.CancelHandles{Session: b.session, Execution: b.id, Handles: []string{"Rnone/i1", any[a.rng.IntN(len(any))]}}
		b.answered = b.orDie
	default:
		return false
	}
	return true
}

func (b *simBody) question() {
	rng := b.asker.rng
	b.number++
	b.request = &scheduler.SubmitInput{Session: b.session, Execution: b.id, Number: b.number, Key: []string{"", "k", "k", "l"}[rng.IntN(4)],
		Template: []string{"a", "a", "a", "b"}[rng.IntN(4)], Title: fmt.Sprint(rng.IntN(2))}
	b.answered = func(reply scheduler.Reply) {
		if reply.Err != nil && reply.Err.Code == scheduler.CodeInputMismatch {
			return
		}
		b.orDie(reply)
		if reply.Err == nil {
			b.asker.inputs = append(b.asker.inputs, reply.Answer.InputID)
		}
	}
}

// lookInput reads the response that the body waits for; false while there is none. Like a leader it has the wait noted.
func (b *simBody) lookInput() bool {
	id, _ := state.ParseInputID(b.asker.wait)
	in := b.view().Input(id)
	b.blocked = in.Response == nil
	if b.blocked {
		if !b.view().HasDependency(b.id, b.asker.wait) {
			b.send(&scheduler.AddDependency{Session: b.session, Execution: b.id, On: []string{b.asker.wait}}, nil)
		}
		return false
	}
	if got, want := responseText(in), b.oracle.inputs[b.asker.wait].response; got != want {
		b.failf("%s waited for %s and saw %s, recorded is %s", b.id, b.asker.wait, got, want)
	}
	b.asker.wait = ""
	return true
}

// simPerson answers what is asked, and what is answered already.
type simPerson struct {
	*sim
	rng     *rand.Rand
	waiting bool
	request scheduler.Request
}

func newSimPerson(s *sim, seed uint64) *simPerson {
	return &simPerson{sim: s, rng: rand.New(rand.NewPCG(seed, 3))}
}

// actors lets everybody do something.
func (s *sim) actors() {
	for _, u := range s.users {
		u.act()
	}
	s.person.act()
	s.packer.act()
	s.forgetter.act()
	for _, a := range s.agents {
		a.act()
	}
}

func (s *sim) quiet() bool {
	if len(s.inbox) > 0 || s.view().NextDue() != nil {
		return false
	}
	for range s.view().Sweeps() {
		return false
	}
	for _, a := range s.agents {
		if !a.quiet() {
			return false
		}
	}
	for _, u := range s.users {
		if u.waiting {
			return false
		}
	}
	return s.oracle.unfinished() == ""
}

func (p *simPerson) act() {
	if p.waiting {
		return
	}
	if p.request == nil {
		input := p.pending()
		if !p.calm && len(p.oracle.inputs) > 0 {
			input = ""
			if p.rng.IntN(4) == 0 {
				any := append(slices.Sorted(maps.Keys(p.oracle.inputs)), "Rnone/i1")
				input = any[p.rng.IntN(len(any))]
			}
		}
		if input == "" {
			return
		}
		at := p.now
		if !p.calm && p.rng.IntN(10) == 0 {
			at -= int64(p.rng.IntN(1_200_000))
		}
		p.request = &scheduler.RespondInput{RequestID: ulidOf(at, p.rng), Input: input, Value: state.Value{Data: fmt.Append(nil, p.rng.IntN(100))}}
		if p.rng.IntN(3) == 0 {
			p.request = &scheduler.DismissInput{RequestID: ulidOf(at, p.rng), Input: input}
		}
	}
	p.waiting = true
	p.send(p.request, func(scheduler.Reply) { p.waiting, p.request = false, nil })
}

// pending is an input that somebody waits for, as people see it; "" when there is none.
func (p *simPerson) pending() string {
	for _, room := range p.oracle.roomIDs() {
		for in := range p.view().OpenInputs(room) {
			if scheduler.Awaited(p.view(), in.ID()) {
				return in.ID().String()
			}
		}
	}
	return ""
}

// oracleInput is an input in the books.
type oracleInput struct {
	run, workspace string
	key, template  string
	response       string // "" while it is open
	request        string // that ended it
	told           bool   // who waits for it was
	awaits         map[string]bool
}

func responseText(in *state.Input) string {
	switch {
	case in.Response == nil:
		return ""
	case in.Response.Value != nil:
		return in.Response.Type.String() + " " + string(in.Response.Value.Data)
	}
	return in.Response.Type.String()
}

func (o *oracle) submitInput(r *scheduler.SubmitInput, reply scheduler.Reply) error {
	by, code := o.speaks(r.Session, r.Execution)
	if by != nil && by.asked[r.Number] != "" {
		if reply.Err != nil || reply.Answer.InputID != by.asked[r.Number] {
			return fmt.Errorf("the same request made or found %s before", by.asked[r.Number])
		}
		return nil
	}
	if err := refusedAs(reply, code); err != nil && (code != "" || reply.Err.Code != scheduler.CodeInputMismatch) || code != "" {
		return err
	}
	run := runOf(by.id)
	found := ""
	for w := by.workspace; r.Key != "" && w != "" && found == ""; w = o.rooms[w].base {
		for id, in := range o.inputs {
			if in.run == run && in.workspace == w && in.key == r.Key {
				found = id
			}
		}
	}
	want := found
	switch {
	case found != "" && o.inputs[found].template != r.Template:
		return refusedAs(reply, scheduler.CodeInputMismatch)
	case reply.Err != nil:
		return errors.New("a good question was refused")
	case found == "":
		n := 1
		for _, in := range o.inputs {
			if in.run == run {
				n++
			}
		}
		want = fmt.Sprintf("%s/i%d", run, n)
		o.inputs[want] = &oracleInput{run: run, workspace: by.workspace, key: r.Key, template: r.Template, awaits: map[string]bool{}}
	}
	if reply.Answer.InputID != want {
		return fmt.Errorf("it is %s, want %s", reply.Answer.InputID, want)
	}
	if by.asked == nil {
		by.asked = map[int64]string{}
	}
	by.asked[r.Number] = want
	return nil
}

// responded follows an answer or a dismissal.
func (o *oracle) responded(input, request, response string, reply scheduler.Reply, now int64) error {
	in := o.inputs[input]
	switch {
	case in == nil:
		return refusedAs(reply, scheduler.CodeNotFound)
	case in.response != "" && in.request == request && in.response[:5] == response[:5]:
		return refusedAs(reply, "")
	case in.response != "":
		return refusedAs(reply, scheduler.CodeAlreadyResponded)
	case expired(request, now):
		return refusedAs(reply, scheduler.CodeExpired)
	}
	in.response, in.request = response, request
	return refusedAs(reply, "")
}

// awaits follows what an execution waits for.
func (o *oracle) awaits(r *scheduler.AddDependency, reply scheduler.Reply) error {
	by, code := o.speaks(r.Session, r.Execution)
	if err := refusedAs(reply, code); err != nil || code != "" {
		return err
	}
	for _, on := range r.On {
		if in := o.inputs[on]; in != nil && o.rooms[in.workspace].project == o.rooms[by.workspace].project {
			in.awaits[by.id] = true
		}
	}
	return nil
}

// cancelInput follows an execution that takes a question back; false when the handle is none.
func (o *oracle) cancelInput(by *oracleExec, handle string) bool {
	in := o.inputs[handle]
	if in != nil && in.response == "" && o.rooms[in.workspace].project == o.rooms[by.workspace].project {
		in.response = "cancelled"
	}
	return in != nil
}

// compareInputs holds the inputs against the books.
func (o *oracle) compareInputs(t *turn, v *state.View) error {
	counts := map[string]int{}
	for id, want := range o.inputs {
		counts[want.run]++
		parsed, _ := state.ParseInputID(id)
		in := v.Input(parsed)
		if in == nil || in.Workspace != want.workspace || in.Key != want.key || in.Template != want.template || responseText(in) != want.response {
			return fmt.Errorf("input %s is %+v, want %+v", id, in, want)
		}
		if want.response != "" && !want.told {
			if want.told = slices.Contains(t.out.Events, scheduler.Event{Kind: scheduler.EventResponded, Input: parsed}); !want.told {
				return fmt.Errorf("input %s has its response and nobody is told", id)
			}
		}
		awaited := false
		for by := range want.awaits {
			e := o.execs[by]
			for e.retry != nil {
				e = e.retry
			}
			awaited = awaited || e.result == ""
		}
		if got := scheduler.Awaited(v, parsed); got != awaited {
			return fmt.Errorf("input %s counts as awaited: %v, want %v, asked for by %v", id, got, awaited, want.awaits)
		}
	}
	for _, room := range o.roomIDs() {
		for in := range v.OpenInputs(room) {
			if want := o.inputs[in.ID().String()]; want == nil || want.response != "" || want.workspace != room {
				return fmt.Errorf("input %s is listed as open in workspace %s, want %+v", in.ID(), room, want)
			}
		}
	}
	for run := range o.runs {
		if n := v.Run(run).Inputs; n != counts[run] {
			return fmt.Errorf("run %s has %d inputs, want %d", run, n, counts[run])
		}
	}
	return nil
}
