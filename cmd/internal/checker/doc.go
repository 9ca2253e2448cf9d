// Package checker decides from recorded histories whether the mesh kept its promises.
//
// A history is any number of files of JSON lines, in any order; each line is one Event. Times (`at`) are nanoseconds of
// one clock that all writers share: CLOCK_BOOTTIME of one machine.
//
// What a client did and saw. Two lines with one `id`: first phase invoke, later ok, fail (it certainly did not happen) or
// info (time-out, cut connection, 5xx: it may have happened or not):
//
//	{"type":"op","id":7,"client":"c1","node":"n2","op":"submit","phase":"invoke","token":"t1","key":"k","at":100}
//	{"type":"op","id":7,"client":"c1","node":"n2","op":"submit","phase":"ok","token":"t1","key":"k","run":"R1","at":200}
//
// Operations: submit (gives `run`), get (gives `status` unfinished or the type of the result, `value` if it has one; error
// not_found when the run is unknown), result (waits: like get, never unfinished), cancel (of `execution`, or of the root
// of `run`), rerun (of `step`; gives `execution`). `key` is an idempotency key, `token` a word in the arguments that
// names the submission. `"stale":true` marks a read that may be old, `index` is what it said.
//
// What bodies did, written by the user's code outside the engine:
//
//	{"type":"effect","event":"start","execution":"R1:2:1","token":"t1","node":"n1","boot":"b","pid":9,"at":300}
//
// Events: start, end, read (the body got `value` and `status` from its child `child`).
//
// What a node says in the end, when everything has come to rest, one line per execution and node:
//
//	{"type":"final","node":"n1","run":"R1","execution":"R1:2:1","parent":"R1:1:1","status":"value","value":"1","token":"t1"}
//
// `status` "" means that it has no result; `retries` is the limit (-1 = none) and `backoff` the milliseconds between
// attempts; `retry` is the number of the attempt that follows a failure, a suspension or a recurrence; `link` is the
// execution whose outcome a cached, deferred or spawned one has; `call` is module, target and arguments as one text. The
// root of a run that a workflow called has that call as its `parent`.
//
// The committed stream, where it was recorded: what each entry did.
//
//	{"type":"commit","index":12,"event":"assigned","execution":"R1:2:1","session":"S1"}
//
// Events: created (with `parent`), assigned, result (`status`, `session` that reported it, `value`), cancel (of
// `execution` with its descendants), session_lost.
//
// Digests of replicas: {"type":"digest","node":"n1","index":1000,"digest":"a1b2"}. Lines of type nemesis are for people.
package checker
