package scheduler_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutations are faults that the simulator has to notice: each replaces a text that occurs once in its file.
var mutations = []struct{ name, file, old, new string }{
	{"a later result wins", "scheduler/results.go", "if e.Result != nil {", "if false {"},
	{"the lost may still speak", "scheduler/steps.go", "s == nil || s.State == state.SessionLost", "s == nil"},
	{"any session speaks for any execution", "scheduler/steps.go", "e == nil || e.Session != session", "e == nil"},
	{"calls under cancellation go on", "scheduler/steps.go", "if d.underCancel(e) {", "if false {"},
	{"what is being cancelled is placed", "scheduler/placement.go", "if d.underCancel(e) {", "if false {"},
	{"a repeated call is a new step", "scheduler/steps.go", "StepByCause(parent.ID(), r.Number); s != nil", "StepByCause(parent.ID(), r.Number); s != nil && false"},
	{"a repeated submission is a new run", "scheduler/runs.go", `"", requestID); k != nil`, `"", requestID); k != nil && false`},
	{"an idempotency key is not looked up", "scheduler/runs.go", "k != nil && k.ExpiresAt > d.now", "k != nil && false"},
	{"an old request is executed", "scheduler/runs.go", "at <= d.now-RequestWindow || ", ""},
	{"a lost session's work is forgotten", "scheduler/sessions.go", `d.Put(&state.Sweep{ID: "session " + s.ID, Kind: state.SweepSession, Subject: s.ID, Reason: reason})`, ""},
	{"two sessions of one node live", "scheduler/sessions.go", `d.lose(s, "its node opened a new session")`, "_ = s"},
	{"cancellation stops at children", "scheduler/cancel.go", "for range d.Children(first) {", "for range 0 {"},
	{"cancellation reaches strangers", "scheduler/sweeps.go", "!covered(&d.View, e, all, seen)", "!covered(&d.View, e, all, seen) && false"},
	{"cancellation misses later steps", "scheduler/sweeps.go", "d.RunExecutions(subject.Run, s.NextStep)", "d.RunExecutions(subject.Run, s.NextStep+1)"},
	{"a sweep forgets where it was", "scheduler/sweeps.go", "rest.NextStep = e.Step", "rest.NextStep = e.Step + 1"},
	{"a result after the cancellation counts", "scheduler/results.go", "if err != nil {\n\t\t// Cancelled", "if false {\n\t\t// Cancelled"},
	{"slots are not counted", "scheduler/placement.go", "p.taken(a, e)", ""},
	{"roots come before children", "scheduler/placement.go", "cmp.Compare(a.Tier, b.Tier),", "cmp.Compare(b.Tier, a.Tier),"},
	{"targets are ignored", "scheduler/placement.go", "a.free() && a.soft.Serves[c.Untagged()]", "a.free()"},
	{"the draining are given work", "scheduler/placement.go", "s != nil && s.State == state.SessionOpen", "s != nil && s.State != state.SessionLost"},
	{"timers fire early", "scheduler/timers.go", "next == nil || next.ExecuteAfter > b.Now", "next == nil"},
	{"nobody hears of an end", "scheduler/results.go", `d.tell(EventFinished, "", e.ID())`, ""},
	{"nobody kills", "scheduler/results.go", "state.ResultSuspended:\n\t\t\td.tell(EventAbort, e.Session, e.ID())", "state.ResultSuspended:"},
	{"a timeout leaves the children alone", "scheduler/results.go", "result.Type == state.ResultTimeout || ", ""},
	{"a timeout leaves what was called before a suspension alone", "scheduler/results.go", "d.cancelBelow(d.begunBy(e).ID()", "d.cancelBelow(e.ID()"},
	{"two attempts of a step live", "scheduler/placement.go", "if p.alone(e) {", "if true {"},
	{"a re-run leaves the earlier attempt alive", "scheduler/rerun.go", `d.cancel(e, "the step was run again")`, "_ = e"},
	{"a run's tags are not inherited", "scheduler/tags.go", "maps.Copy(tags, run.Requires)", ""},
	{"a step's tags are ignored", "scheduler/tags.go", "maps.Copy(tags, s.Requires)", ""},
	{"an empty list takes no tag off", "scheduler/tags.go", "func(_ string, values []string) bool { return len(values) == 0 }", "func(name string, values []string) bool { v := run.Requires[name]; if len(values) == 0 && len(v) > 0 { tags[name] = v }; return len(tags[name]) == 0 }"},
	{"all values of a tag are needed", "scheduler/tags.go", "return slices.ContainsFunc(a, func(value string) bool { return slices.Contains(b, value) })", "return !slices.ContainsFunc(b, func(value string) bool { return !slices.Contains(a, value) })"},
	{"one tag of many is enough", "scheduler/tags.go", "if !provides(s, r) {", "if !provides(s, r) && len(required) == 1 {"},
	{"what a session accepts it does not insist on", "scheduler/tags.go", "return accepts(s, required)", "return true"},
	{"what a session accepts it does not provide", "scheduler/tags.go", " || overlap(s.Accepts[r.Name], r.Values)", ""},
	{"a tag that nobody has hides others", "scheduler/placement.go", "return nil, c.Past(text + r.Name + \":\")", "return nil, c.Past(\"\")"},
	{"a value that nobody has hides others", "scheduler/placement.go", "return nil, c.Past(text)\n", "return nil, c.Past(\"\")\n"},
	{"retry: no limit holds", "scheduler/retries.go", "limit != nil && e.Failures >= *limit", "limit != nil && false"},
	{"retry: failures are not counted", "scheduler/retries.go", "next.Failures = e.Failures + 1", "next.Failures = 1"},
	{"retry: a re-run forgets the failures before it", "scheduler/rerun.go", "e.Failures = failuresAfter(before)", "e.Failures = 0 * failuresAfter(before)"},
	{"retry: what must not be retried is", "scheduler/retries.go", "!*r.Retryable {", "false {"},
	{"retry: it does not wait", "scheduler/retries.go", "return next, retryDelay(", "return next, 0*retryDelay("},
	{"retry: the backoff grows too slowly", "scheduler/retries.go", "max(*r.Limit-1, 1)", "max(*r.Limit, 1)"},
	{"retry: who waits is told of the first failure", "scheduler/retries.go", "e.Result.Retry > e.Attempt {", "false {"},
	{"retry: it goes to the node that failed", "scheduler/placement.go", "mine != theirs {\n\t\treturn theirs", "mine != theirs {\n\t\treturn mine"},
	{"retry: a cancellation stays at the attempt it names", "scheduler/cancel.go", "last := lastAttempt(&d.View, e)", "last := e"},
	{"retry: a cancellation leaves what earlier attempts called", "scheduler/cancel.go", "sweep.Through = through", "sweep.Subject = state.ExecutionID{Run: first.Run, Step: first.Step, Attempt: through}.String()"},
	{"durable: what is lost ends", "scheduler/durable.go", "if !step.Durable {", "if true {"},
	{"durable: an open step is called again after many suspensions", "scheduler/memo.go", "!own && d.waitsFor", "d.waitsFor"},
	{"durable: whatever is lost goes on", "scheduler/durable.go", "if !step.Durable {", "if false {"},
	{"durable: losses never end it", "scheduler/durable.go", "if losses >= maxLosses {", "if false {"},
	{"durable: a completed step is no progress", "scheduler/durable.go", "if !d.progressed(e) {\n\t\tlosses", "if true {\n\t\tlosses"},
	{"durable: a loss is a failure", "scheduler/durable.go", "next.Failures, next.Losses, next.Lap = e.Failures,", "next.Failures, next.Losses, next.Lap = e.Failures+1,"},
	{"durable: a newer call takes the place of one that has begun", "scheduler/durable.go", "next.DeferKey = \"\"", "_ = next"},
	{"durable: equal calls are one", "scheduler/durable.go", "strconv.Itoa(r.Equal)", "strconv.Itoa(0*r.Equal)"},
	{"durable: one step's calls are given to another", "scheduler/durable.go", "strconv.Itoa(parent.Step)", "strconv.Itoa(0*parent.Step)"},
	{"durable: a recurrence is given what the one before called", "scheduler/durable.go", "strconv.Itoa(parent.Lap)", "strconv.Itoa(0*parent.Lap)"},
	{"durable: what has given up lives on", "scheduler/results.go", "given == state.ResultAbandoned && ", "false && "},
	{"durable: a suspension forgets the losses", "scheduler/suspend.go", "next.Losses = e.Losses", "next.Losses = 0"},
	{"memo is ignored", "scheduler/steps.go", "found != nil {", "found != nil && false {"},
	{"a memo hit is forgotten", "scheduler/steps.go", "h != nil {", "h != nil && false {"},
	{"a run's memo is not inherited", "scheduler/memo.go", "r.Memo == nil && run.Memo", "r.Memo == nil && false"},
	{"memo off does not win", "scheduler/memo.go", "r.Memo == nil || r.Memo.Off:", "r.Memo == nil:"},
	{"what failed is memoised", "scheduler/memo.go", "last.Result != nil && last.Result.Type != state.ResultValue", "last.Result != nil && last.Result.Link != \"\" && e.Result == nil"},
	{"what is being cancelled is memoised", "scheduler/memo.go", "(d.underCancel(last) || !own && d.waitsFor(last, by))", "!own && d.waitsFor(last, by)"},
	{"the oldest is memoised", "consensus/state/executions.go", "be8(e.CreatedAt) + e.key()\n}\n\n// Memoised", "be8(1<<62-e.CreatedAt) + e.key()\n}\n\n// Memoised"},
	{"what is memoised is not found", "consensus/state/executions.go", "return join(e.Run, e.Workspace, e.MemoKey)", "return join(\"\", e.Workspace, e.MemoKey)"},
	{"all arguments are always in the key", "scheduler/memo.go", "params = r.Memo.Params", "params.All = true"},
	{"the target is not in the key", "scheduler/memo.go", "argumentsKey(r.Module+\":\"+r.Target,", "argumentsKey(\"\","},
	{"arguments that are absent are not in the key", "scheduler/keys.go", "writeText(h, \"absent\")", ""},
	{"what recurs ends", "scheduler/recurrence.go", "if !step.Recurrent {", "if true {"},
	{"what does not recur recurs", "scheduler/recurrence.go", "if !step.Recurrent {", "if false {"},
	{"any value recurs", "scheduler/recurrence.go", "|| !isNull(result.Value) {", "{"},
	{"it recurs at once", "scheduler/recurrence.go", "return next, step.Delay", "return next, 0"},
	{"a recurrence is not linked", "scheduler/recurrence.go", "Retry: next.Attempt}", "}"},
	{"a recurrence does not end a row of failures", "scheduler/recurrence.go", "	return next, step.Delay", "	next.Failures = e.Failures\n\treturn next, step.Delay"},
	{"what a base has memoised is not found", "scheduler/memo.go", "for w := range d.Lineage(by.Workspace) {", "for w := range d.Lineage(by.Workspace) {\n\t\tif w.ID != by.Workspace {\n\t\t\tbreak\n\t\t}"},
	{"what is paused is placed", "scheduler/placement.go", "w.State == state.WorkspaceActive", "w.Live()"},
	{"cancellation reaches other workspaces", "scheduler/sweeps.go", "e.Workspace != workspace || ", "workspace == \"\" || "},
	{"cancellation is felt in other workspaces", "scheduler/cancel.go", "parent != nil && parent.Workspace == e.Workspace", "parent != nil"},
	{"other projects' executions are cancelled", "scheduler/workspaces.go", "e.Workspace != workspace && v.Project(e.Workspace) != v.Project(workspace)", "false"},
	{"an archived workspace keeps its queue", "scheduler/workspaces.go", "for e := range d.Unfinished(s.Subject) {", "for e := range d.Unfinished(\"\") {"},
	{"an archived workspace keeps its sessions", "scheduler/workspaces.go", "d.lose(session, s.Reason)", "_ = session"},
	{"an archived workspace takes runs", "scheduler/workspaces.go", "w != nil && w.Live() {\n\t\treturn w, nil", "w != nil {\n\t\treturn w, nil"},
	{"sessions speak for an archived workspace", "scheduler/steps.go", " || d.archived(s.Workspace)", ""},
	{"an archived workspace comes back", "scheduler/sessions.go", "if before == nil || before.Project", "if !before.Live() || before.Project"},
	{"a base is archived", "scheduler/workspaces.go", "for other := range d.BasedOn(w.ID) {", "for other := range d.BasedOn(\"\") {"},
	{"a workspace inherits from itself", "scheduler/workspaces.go", "case d.Inherits(base, w.ID):", "case false:"},
	{"a name is given twice", "scheduler/workspaces.go", "other != nil && other.ID != w.ID", "other != nil && false"},
	{"a change that arrives late is made again", "scheduler/workspaces.go", "d.repeated(requestID); known != \"\"", "d.repeated(requestID); false"},
	{"a step is run again anywhere", "scheduler/rerun.go", " || !d.Inherits(w.ID, home)", ""},
	{"a re-run ends attempts elsewhere", "scheduler/rerun.go", "e.Workspace == r.Workspace && (", "("},
	{"attempts elsewhere hold one up", "scheduler/retries.go", "before.Workspace == e.Workspace && !yield(before)", "!yield(before)"},
	{"an archived workspace tries again", "scheduler/retries.go", " || d.archived(e.Workspace)", ""},
	{"a workflow that is gone stays registered", "scheduler/manifests.go", "d.Delete(old)", "_ = old"},
	{"a registration ends other modules", "scheduler/manifests.go", "d.ModuleWorkflows(workspace, m.Module)", "d.Workflows(workspace)"},
	{"a changed definition is not taken over", "scheduler/manifests.go", "!bytes.Equal(old.Definition, w.Definition)", "!bytes.Equal(old.Definition, old.Definition)"},
	{"a registration that arrives late is made again", "scheduler/manifests.go", "d.repeated(r.RequestID); known != \"\"", "d.repeated(r.RequestID); false"},
	{"the lost may register", "scheduler/manifests.go", "s == nil || s.State == state.SessionLost || d.archived(s.Workspace)", "s == nil"},
	{"an archived workspace keeps its manifests", "scheduler/workspaces.go", "for w := range d.Workflows(s.Subject) {", "for w := range d.Workflows(\"\") {"},
	{"defer: the earlier call goes on beside the later", "scheduler/runs.go", "if e.DeferKey != \"\" {", "if false {"},
	{"defer: the first call survives", "scheduler/defer.go", "survivor := e\n", "survivor := e\n\tfor x := range d.Deferrable(e.Class(), e.DeferKey) {\n\t\tsurvivor = x\n\t\tbreak\n\t}\n"},
	{"defer: a call that is due later gives way", "scheduler/defer.go", "x.ExecuteAfter > survivor.ExecuteAfter", "false"},
	{"defer: what has started gives way", "consensus/state/tables.go", "e.DeferKey != \"\" && e.Result == nil && e.Session == \"\"", "e.DeferKey != \"\" && e.Result == nil"},
	{"defer: what is being cancelled survives", "scheduler/defer.go", " || d.underCancel(x)", ""},
	{"defer: the arguments do not matter", "scheduler/keys.go", "h := sha256.New()", "h, arguments, p := sha256.New(), []state.Value(nil), Params{}"},
	{"defer: who waits is left alone", "scheduler/outcomes.go", "e = to", "_ = next\n\t\treturn nil"},
	{"cache: it is not used", "scheduler/cache.go", "if step.Cache == nil {", "if true {"},
	{"cache: values never grow old", "scheduler/cache.go", "d.now-x.CompletedAt > *age", "false"},
	{"cache: a call waits for what waits for it", "scheduler/cache.go", "d.waitsFor(x, e)", "false"},
	{"cache: what is being cancelled stands in", "scheduler/cache.go", "d.underCancel(x) || ", ""},
	{"cache: what failed stands in", "consensus/state/tables.go", "e.CacheKey != \"\" && (e.Result == nil || e.Result.Type == ResultValue)", "e.CacheKey != \"\""},
	{"cache: the version does not matter", "scheduler/cache.go", "argumentsKey(namespace, c.Version,", "argumentsKey(namespace, \"\","},
	{"cache: further attempts use it", "scheduler/spawn.go", "id.Attempt == 1 && ", ""},
	{"cache: delayed calls do not use it", "scheduler/timers.go", "d.nowDue(e.ID())", ""},
	{"spawn: cancellation in progress ends at the run", "scheduler/cancel.go", "parent = r.Parent", "_ = r"},
	{"spawn: the sweep ends at the run", "scheduler/sweeps.go", "root := d.spawned(e)", "root := (*state.Execution)(nil)"},
	{"spawn: cancelling a call leaves its run alone", "scheduler/cancel.go", "d.cancelRun(root, reason)", "_ = root"},
	{"spawn: what is being cancelled becomes a run", "scheduler/spawn.go", " && !d.underCancel(e)", ""},
	{"spawn: the run needs no tags", "scheduler/spawn.go", "effective(d.Run(e.Run), call)", "nil"},
	{"spawn: roots that somebody waits for come last", "scheduler/spawn.go", "state.TierChild", "state.TierRoot"},
	{"spawn: nothing is tried again", "scheduler/spawn.go", "Retries: call.Retries, ", ""},
	{"spawn: a re-run leaves the run alive", "scheduler/rerun.go", " || d.spawned(e) != nil && Outcome(&d.View, e.ID()) == nil", ""},
	{"input: a repeated question is another one", "scheduler/inputs.go", "InputByCause(by.ID(), r.Number); in != nil", "InputByCause(by.ID(), r.Number); in != nil && false"},
	{"input: a repeat of a question that was found is forgotten", "scheduler/inputs.go", "d.Put(&state.Hit{Parent: by.ID().String(), Request: r.Number, Input: found.ID().String()})", "run := *d.Run(by.Run)\n\t\trun.Inputs++\n\t\td.Put(&run)"},
	{"input: equal keys are different questions", "scheduler/inputs.go", "if key == \"\" {", "if true {"},
	{"input: what a base has asked is not found", "scheduler/inputs.go", "for w := range d.Lineage(by.Workspace) {", "for w := range d.Lineage(by.Workspace) {\n\t\tif w.ID != by.Workspace {\n\t\t\tbreak\n\t\t}"},
	{"input: another question is given", "scheduler/inputs.go", "if !r.asks(found, placeholders) {", "if false {"},
	{"input: the ended are answered again", "scheduler/inputs.go", "if r := in.Response; r != nil && (", "if r := in.Response; r != nil && false && ("},
	{"input: a repeated answer is refused", "scheduler/inputs.go", "r.RequestID != requestID", "true"},
	{"input: an old answer counts", "scheduler/inputs.go", "_, err := d.seen(requestID); err != nil", "_, err := d.seen(requestID); err != nil && false"},
	{"input: nobody hears of a response", "scheduler/inputs.go", "d.events = append(d.events, Event{Kind: EventResponded, Input: in.ID()})", ""},
	{"input: other projects' questions are taken back", "scheduler/inputs.go", "in == nil || in.Workspace != workspace && v.Project(in.Workspace) != v.Project(workspace)", "in == nil"},
	{"input: nothing is taken back", "scheduler/inputs.go", "d.endInput(in, &state.Response{Type: state.ResponseCancelled})", "_ = in"},
	{"input: the dead wait", "scheduler/inputs.go", "seen[e.ID()] = true; e.Result == nil {", "seen[e.ID()] = true; true {"},
	{"input: a wait ends with the attempt", "scheduler/inputs.go", "if e.Result.Retry > e.Attempt {", "if false {"},
	{"input: waits for inputs are not noted", "scheduler/steps.go", " || VisibleInput(&d.View, e.Workspace, on) != nil", ""},
	{"input: the ended stay open", "consensus/state/tables.go", "be8(i.CreatedAt) + i.key(), i.Response == nil", "be8(i.CreatedAt) + i.key(), true"},
	{"suspend: it counts as a success", "scheduler/suspend.go", "next.Failures, next.Lap = e.Failures, e.Lap", "next.Lap = e.Lap"},
	{"suspend: it counts as a failure", "scheduler/suspend.go", "next.Failures, next.Lap = e.Failures, e.Lap", "next.Failures, next.Lap = e.Failures+1, e.Lap"},
	{"suspend: nothing follows", "scheduler/suspend.go", "Retry: next.Attempt}, next, delay)", "Retry: next.Attempt}, nil, delay)"},
	{"suspend: the next attempt is not linked", "scheduler/suspend.go", ", Retry: next.Attempt}", "}"},
	{"suspend: the delay does not hold", "scheduler/suspend.go", "max(r.Delay, 0, ", "max(0, "},
	{"suspend: the moment does not hold", "scheduler/suspend.go", ", r.ExecuteAfter-d.now)", ")"},
	{"suspend: the process lives on", "scheduler/results.go", ", state.ResultSuspended:", ":"},
	{"suspend: the next attempt waits for nothing", "scheduler/suspend.go", "next.ID().String(), state.WaitAny", "next.ID().String(), state.WaitNone"},
	{"suspend: it waits for all handles", "scheduler/waits.go", "e.Wait == state.WaitAll {\n\t\tif value", "true {\n\t\tif value"},
	{"suspend: it waits for what is over", "scheduler/suspend.go", "one = one || over", "one = one || over && false"},
	{"suspend: what is cancelled suspends", "scheduler/suspend.go", "if err != nil {\n\t\td.finish", "if false {\n\t\td.finish"},
	{"suspend: a repeat suspends again", "scheduler/suspend.go", "if e.Result != nil {", "if false {"},
	{"suspend: an answer wakes nobody", "scheduler/inputs.go", "d.wakeInput(in.ID())", ""},
	{"suspend: who waits for an input is not seen", "scheduler/suspend.go", "d.Put(&state.Dependency{Execution: e.ID().String(), On: h.ID})", ""},
	{"wait: nothing waits", "scheduler/runs.go", "if len(s.WaitFor) > 0 {", "if false {"},
	{"wait: what values refer to does not count", "scheduler/waits.go", "case value != nil:", "case false:"},
	{"wait: an end wakes nobody", "scheduler/results.go", "d.wake(e.ID())", ""},
	{"wait: a retry is no end", "scheduler/waits.go", "{\n\t\t\tsubject = append(", "{\n\t\t\tif e.ID() != id {\n\t\t\t\tbreak\n\t\t\t}\n\t\t\tsubject = append("},
	{"wait: what waits is placed", "consensus/state/executions.go", "e.Timely() && e.Wait == WaitNone", "e.Timely()"},
	{"wait: what waits becomes a run", "scheduler/spawn.go", "e.Queued() && e.Type ==", "e.Timely() && e.Type =="},
	{"wait: what waits does not use the cache", "scheduler/spawn.go", "e.Timely() && e.CacheKey", "e.Queued() && e.CacheKey"},
	{"wait: a circle of values waits for itself", "scheduler/waits.go", "waiting[last.ID()] {", "waiting[last.ID()] && false {"},
	{"wait: what waits for a caller is given to it", "scheduler/waits.go", "x != nil && x.Wait == state.WaitNone {", "x != nil {"},
	{"wait: a call takes the place of what it waits for", "scheduler/defer.go", " && !(d.AnyWaits() && d.waitsFor(survivor, x))", ""},
	{"wait: what is beyond is not waited for", "scheduler/waits.go", "		d.awaitArguments(&next)\n", ""},
	{"a call that is too large for a run is accepted", "scheduler/steps.go", "r.Type == state.TypeWorkflow && size", "r.Type == state.TypeWorkflow && false && size"},
	{"a question that is too large for its response is accepted", "scheduler/inputs.go", "case values > maxPlaceholderBytes:", "case values < 0:"},
	{"wait: an end that lets too much go on lets nothing go on", "scheduler/sweeps.go", "errors.As(err, &large) && chunk > 1", "errors.As(err, &large) && false"},
	{"wait: a sweep of ends stops early", "scheduler/waits.go", "if used >= limit {\n\t\t\t\treturn used, false", "if used >= limit {\n\t\t\t\treturn used, true"},
	{"a tally forgets", "scheduler/placement.go", "tally.Executions += before.Executions", ""},
	{"a tally outlives its session", "scheduler/sweeps.go", "d.Delete(tally)", ""},
	{"pack: what has changed goes too", "scheduler/packs.go", "err == nil && digest == run.Digest", "err == nil && (digest != 1 || true)"},
	{"pack: what others have the outcome of goes", "scheduler/packs.go", "other.Run != run && !together[other.Run]", "other.Run == \"\""},
	{"pack: what is not over goes", "scheduler/packs.go", "e.Result == nil || e.CompletedAt > before || Outcome(v, e.ID()) == nil", "e.Result == nil"},
	{"pack: a large run stays in part", "scheduler/packs.go", "return len(rows), len(rows) < limit", "return len(rows), true"},
	{"pack: a run in a pack forgets the others", "scheduler/packs.go", "ids := slices.Collect(pack.List())", "ids := slices.Collect(pack.List())[:0]"},
	{"pack: an older value takes the place of a newer", "scheduler/packs.go", "case old.CreatedAt >= k.CreatedAt && old.CompletedAt >= k.CompletedAt:\n\t\t\treturn", "case false:\n\t\t\treturn"},
	{"pack: kept values are never too old", "scheduler/packs.go", "d.now-k.CompletedAt > *age", "false"},
	{"pack: a hit does not carry the value", "scheduler/cache.go", "Link: k.Execution, Value: &k.Value}", "Link: k.Execution}"},
	{"pack: packs lose runs when they are merged", "scheduler/packs.go", "if !has[run] {", "if false {"},
	{"pack: the removed is run again", "scheduler/runs.go", "return rootAnswer(run, \"\", \"\"), nil", "return Answer{}, nil"},
	{"unpack: nothing asks for a run", "scheduler/unpack.go", "p != nil && p.Has(run) {\n\t\treturn &Error", "p != nil && p.Has(\"\") {\n\t\treturn &Error"},
	{"unpack: a part is taken for the whole", "scheduler/unpack.go", "err != nil || digest != r.Digest", "err != nil || digest == 0"},
	{"unpack: it is in the tables and in a pack", "scheduler/unpack.go", "if id != r.Run {", "if true {"},
	{"unpack: it comes while it is erased", "scheduler/unpack.go", "erase != nil && !erase.Held", "false"},
	{"unpack: links lead nowhere", "scheduler/unpack.go", "run.More || e.Result == nil || e.Result.Link", "true || run.More || e.Result == nil || e.Result.Link"},
	{"unpack: leftovers stay", "scheduler/unpack.go", "free.Held = false", ""},
	{"asset: the used is forgotten", "scheduler/assets.go", "a.UsedAt < r.Before", "a.UsedAt < r.Before || r.Before > 0"},
	{"asset: use is not noted", "scheduler/assets.go", "d.now-a.UsedAt >= d.assetTouch", "d.now < d.assetTouch"},
	{"asset: use is noted late", "scheduler/assets.go", "d.now-a.UsedAt >= d.assetTouch", "d.now-a.UsedAt >= 5*d.assetTouch"},
	{"asset: what was made again is not used", "scheduler/assets.go", "\td.touch(a)\n\td.Put(&state.Persisted", "\td.Put(&state.Persisted"},
	{"asset: a reference says nothing", "scheduler/assets.go", "value.References[i] = ref", "value.References[i].Kind = ref.Kind"},
	{"asset: a dependency does not keep it", "scheduler/assets.go", "On: ref.ID, BlobKey: ref.BlobKey}", "On: ref.ID}"},
	{"asset: who made it does not keep it", "scheduler/assets.go", "Asset: id, BlobKey: a.BlobKey}", "Asset: id}"},
	{"asset: the dead make some", "scheduler/assets.go", "e, err := d.live(r.Session, r.Execution)\n\tif err != nil {\n\t\treturn Answer{}, err\n\t}\n\tid, ok", "e, err := d.live(r.Session, r.Execution)\n\tif e == nil {\n\t\treturn Answer{}, err\n\t}\n\tid, ok"},
	{"asset: ids do not depend on the list", "scheduler/assets.go", "n.DivMod(n, base, digit)", "n.DivMod(base, base, digit)"},
	{"asset: a cache key depends on what is filled in", "scheduler/keys.go", "r = state.Reference{Kind: r.Kind, ID: r.ID}", "r.Kind = state.KindAsset"},
	{"asset: the request's own value is changed", "scheduler/assets.go", "value.References, own = slices.Clone(value.References), true", "own = true"},
	{"cache: a call is linked to a later attempt of its caller", "scheduler/waits.go", "open = append(open, by, lastAttempt(&d.View, by), d.LatestAttempt(by.ID().StepID()))", "open = append(open, by)"},
	{"any base will do", "consensus/state/store.go", "meta.Index != e.Base", "false"},
	{"rows stay in indexes that they left", "consensus/state/tree.go", "had && (!at[1+i].ok || was != at[1+i].key)", "had && at[1+i].ok && was != at[1+i].key"},
	{"refused decisions leave traces", "consensus/state/tree.go", "range slices.Backward(t.tracked.places) {", "range slices.Backward(t.tracked.places[:0]) {"},
	{"decisions are undone from the front", "consensus/state/tree.go", "range slices.Backward(t.tracked.places) {", "range slices.All(t.tracked.places) {"},
	{"a leader tries on what is committed", "consensus/state/tree.go", "return &txn{trees: own, own: make([]bool, len(trees))}", "all := make([]bool, len(trees))\n\tfor i := range all {\n\t\tall[i] = trees[i] != nil\n\t}\n\treturn &txn{trees: own, own: all}"},
	{"the digest forgets", "consensus/state/store.go", "change ^= old.common().share", ""},
	{"a snapshot leaves a table out", "consensus/state/snapshot.go", "for _, s := range specs {", "for _, s := range specs[:9] {"},
}

// directed are tests that notice what random histories come upon too seldom.
const directed = "TestWhatIsKnownOfAnAssetIsFilledIn|TestOnlyUnusedAssetsAreForgotten|TestWhatIsBeingCancelledDoesNotStandIn|TestACallWaitsForWhatIsBehindFinalValues|TestARunLeavesAndReturnsAsItWas|TestWhatIsNeededStays|TestALargeRunIsErasedBitByBit|TestPackedValuesStandIn|TestOnlyValuesThatMayBeUsedAreKept|TestForgottenRunsAndMergedPacks|TestARepeatedSubmissionKnowsAPackedRun|" +
	"TestRerunInADerivedWorkspace|TestWhichExecutionIsFound|TestADerivedWorkspaceFindsWhatItsBaseCalled|TestNobodyIsGivenWhatIsBeingCancelled|TestACallDoesNotWaitForItself|TestAWaitForMoreThanIsWrittenDownAtOnce|TestInputsCanBePassedOnWithinTheProject|" +
	"TestDurableFindsItsSteps|TestAnEndLetsManyLargeCallsGoOn|TestTheLargestInputThatIsAcceptedCanBeAnswered|TestTheLargestCallThatIsAcceptedBecomesARun|TestDurableFindsAnOpenStepAfterManySuspensions|TestATimeoutReachesWhatWasCalledBeforeASuspension|TestLossesWithoutProgressEndIt"

// TestSimulatorNoticesMutations shows that the simulator can fail. It builds the package once for each mutation.
func TestSimulatorNoticesMutations(t *testing.T) {
	if os.Getenv("COFLUX_SLOW") == "" {
		t.Skip("takes minutes: set COFLUX_SLOW=1")
	}
	dir := t.TempDir()
	for _, path := range []string{"go.mod", "go.sum", "scheduler", "consensus/state"} {
		copyTree(t, filepath.Join("..", path), filepath.Join(dir, path))
	}
	if out, err := runSimulator(t, dir, "200"); err != nil {
		t.Fatalf("without a mutation: %v\n%s", err, out)
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			path := filepath.Join(dir, m.file)
			original, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(original), m.old); n != 1 {
				t.Fatalf("%q occurs %d times in %s: name a text that occurs once", m.old, n, m.file)
			}
			write(t, path, strings.Replace(string(original), m.old, m.new, 1))
			defer write(t, path, string(original))
			out, err := runSimulator(t, dir, "")
			if err == nil {
				t.Fatal("the simulator did not notice")
			}
			if !strings.Contains(out, "seed ") && !strings.Contains(out, "--- FAIL: Test") {
				t.Fatalf("failed for another reason: %s", out)
			}
			t.Log(firstLineWith(out, "seed "))
		})
	}
}

// TestMutationsNameTextThatIsThere keeps the table above up with the code: change a rule, change its mutation.
func TestMutationsNameTextThatIsThere(t *testing.T) {
	t.Parallel()
	for _, m := range mutations {
		text, err := os.ReadFile(filepath.Join("..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: %q occurs %d times in %s, want once", m.name, m.old, n, m.file)
		}
	}
}

func runSimulator(t *testing.T, dir, seeds string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-run", "^(TestSimulator|"+directed+")$", "./scheduler")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COFLUX_SLOW=1", "COFLUX_SIM_SEED=", "COFLUX_SIM_SEEDS="+seeds)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func firstLineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(data))
}
