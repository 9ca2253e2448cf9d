import collections
import datetime
import json
import threading
import unittest

import coflux as cf
from engine import EngineTest, Refusal, outcome


@cf.task(memo=True, retries=2)
def add(a, b=10):
    return a + b


@cf.workflow()
def flow():
    return None


class SubmitTest(EngineTest):
    def test_submit_does_not_wait(self):
        gate = threading.Event()
        self.answers["submit_execution"] = lambda params: gate.wait(10) and self.submitted(params)
        handles = [add.submit(i) for i in range(3)]
        self.assertIn("being submitted", repr(handles[0]))
        gate.set()
        self.assertEqual([handle.id for handle in handles], ["R:2:1", "R:3:1", "R:4:1"])
        self.assertEqual([p["arguments"][0]["value"] for p in self.sent("submit_execution")], [0, 1, 2])

    def test_what_is_sent(self):
        with cf.group("g"):
            add.submit(1, b=2)
            with cf.group():
                add.with_memo(False).with_retries(0).submit(add.submit(5))
        flow.submit()
        sent = self.sent("submit_execution")
        inline = {"type": "inline", "format": "json", "references": []}
        self.assertEqual(sent[0], {
            "module": __name__, "target": "add", "type": "task", "group_id": 0, "memo": True, "retries": {"limit": 2},
            "arguments": [{**inline, "value": 1}, {**inline, "value": 2}],
        })
        self.assertEqual(sent[2]["arguments"][0]["references"], [["execution", "R:3:1", __name__, "add"]])
        self.assertEqual((sent[2]["group_id"], sent[2]["memo"], "retries" in sent[2]), (1, False, False))
        self.assertEqual(sent[3], {"module": __name__, "target": "flow", "type": "workflow", "arguments": []})
        self.assertEqual(self.sent("register_group"), [{"group_id": 0, "name": "g"}, {"group_id": 1, "name": None}])

    def test_equal_arguments_look_alike(self):
        for value in ({"b": [{2: 3, 1: 4}], "a": {2, 1}}, {"a": {1, 2}, "b": [{1: 4, 2: 3}]}):
            add.submit(value)
        one, two = self.sent("submit_execution")
        self.assertEqual(json.dumps(one), json.dumps(two))
        add.submit(collections.OrderedDict([("b", 1), ("a", 2)]))
        self.assertEqual(self.sent("submit_execution")[-1]["arguments"][0]["value"]["items"], ["b", 1, "a", 2])

    def test_refusals_raise_where_the_id_is_needed_each_time(self):
        self.answers["submit_execution"] = lambda params: (_ for _ in ()).throw(Refusal("submit_error", "no"))
        handle = add.submit(1)
        for use in (lambda: handle.id, handle.result, handle.poll, handle.cancel, lambda: add.submit(handle)):
            with self.assertRaisesRegex(RuntimeError, "^submit_error: no$"):
                use()
        self.context.settle()  # it was heard already

    def test_refusals_raise_at_the_end(self):
        self.answers["submit_execution"] = lambda params: (_ for _ in ()).throw(Refusal("submit_error", "x is not supported yet"))
        add.submit(1)
        with self.assertRaisesRegex(NotImplementedError, "^submit_error: x is not supported yet$"):
            self.context.settle()

    def test_threads_share_a_handle(self):
        gate = threading.Event()
        self.answers["submit_execution"] = lambda params: gate.wait(10) and self.submitted(params)
        handle, found = add.submit(1), []
        threads = [threading.Thread(target=lambda: found.append(handle.id)) for _ in range(8)]
        for thread in threads:
            thread.start()
        gate.set()
        for thread in threads:
            thread.join(10)
        self.assertEqual(found, ["R:2:1"] * 8)

    def test_calls_wait_for_the_value(self):
        self.answers["select"] = lambda params: outcome(value=12)
        self.assertEqual(add(2), 12)

    def test_a_finaliser_may_log_in_the_middle_of_a_line(self):
        write, entered = self.channel._write_all, []

        def interrupted(data):
            write(data[:9])
            if not entered:
                entered.append(True)
                cf.log_info("from within")
            write(data[9:])

        self.channel._write_all = interrupted
        cf.log_info("outer")
        self.assertEqual([log["template"] for log in self.sent("log")], ["outer", "from within"])


    def test_log_values_that_cannot_be_passed(self):
        loop: list = []
        loop.append(loop)
        cf.log_info("{a} {b}", a=loop, b=float("inf"))
        [said] = self.sent("log")
        self.assertEqual(said["values"]["a"]["value"], "[[...]]")

    def test_lines_of_threads_stay_whole(self):
        def talk(n):
            for i in range(50):
                cf.log_info("x" * (n * 20_000) + f"{n} {i}")
                add.submit(n)

        threads = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.context.settle()
        said = [log["template"].lstrip("x") for log in self.sent("log")]
        for n in range(8):
            self.assertEqual([text for text in said if text.startswith(f"{n} ")], [f"{n} {i}" for i in range(50)])
        self.assertEqual(self.children, 400)


class HandleTest(EngineTest):
    def select_gives(self, *outcomes):
        left = list(outcomes)
        self.answers["select"] = lambda params: left.pop(0)

    def test_outcomes_are_kept(self):
        self.select_gives(None, outcome(value=[1]))
        one, two = (cf.Execution("R:9:1", "m", "t") for _ in range(2))
        self.assertEqual(one.poll(0.5, default="d"), "d")
        self.assertEqual(one.result(), [1])
        one.result().append(2)
        self.assertEqual((two.result(), two.poll()), ([1], [1]))
        handles = [{"type": "execution", "id": "R:9:1"}]
        self.assertEqual(self.sent("select"), [
            {"handles": handles, "suspend": False, "timeout_ms": 500}, {"handles": handles, "suspend": True},
        ])

    def test_exceptions(self):
        for status, kind, text in [
            ("cancelled", cf.ExecutionCancelled, "execution was cancelled"),
            ("timeout", cf.ExecutionTimeout, "execution timed out"),
            ("abandoned", cf.ExecutionAbandoned, "execution was abandoned"),
            ("dismissed", cf.InputDismissed, "input was dismissed"),
            ("odd", RuntimeError, "unknown select status: odd"),
        ]:
            self.select_gives({"winner": 0, "status": status})
            for call in (cf.Execution(status, "m", "t").result, cf.Execution(status, "m", "t").poll):
                with self.assertRaisesRegex(kind, f"^{text}$"):
                    call()
        self.select_gives({"winner": 0, "status": "error", "error": {"type": "builtins.KeyError", "message": "k"}})
        with self.assertRaises(KeyError) as caught:
            cf.Execution("e", "m", "t").result()
        self.assertIsInstance(caught.exception, cf.ExecutionError)

    def test_refused_waits(self):
        self.answers["select"] = lambda params: (_ for _ in ()).throw(Refusal("not_found", "no such execution"))
        with self.assertRaisesRegex(RuntimeError, "^not_found: no such execution$"):
            cf.Execution("x", "m", "t").result()

    def test_inputs(self):
        class Model:
            @classmethod
            def model_validate(cls, raw):
                return ("model", raw)

        self.select_gives(*[outcome(value={"type": "set", "items": [1]})] * 2, *[outcome(value="2024-05-01")] * 2)
        self.assertEqual(cf.Input("i1").result(), {"type": "set", "items": [1]})
        self.assertEqual(cf.Input[Model]("i2").poll(default=3), ("model", {"type": "set", "items": [1]}))
        self.assertEqual(cf.Input[datetime.date]("i3").result(), datetime.date(2024, 5, 1))
        self.assertEqual(cf.Input[str]("i4").result(), "2024-05-01")
        self.assertEqual(self.sent("select")[0]["handles"], [{"type": "input", "id": "i1"}])

    def test_select(self):
        a, b, c = cf.Execution("a", "m", "t"), cf.Input("b"), cf.Execution("c", "m", "t")
        self.select_gives(outcome(1, "answer"), outcome(0, 5))
        winner, remaining = cf.select([a, b, c])
        self.assertIs(winner, b)
        self.assertEqual(remaining, [a, c])
        self.assertEqual(b.result(), "answer")
        winner, remaining = cf.select((a, c), cancel_remaining=True)
        self.assertEqual((winner, remaining, a.result()), (a, [c], 5))
        self.assertEqual(cf.select([a, c]), (a, [c]))  # known: nobody is asked
        sent = self.sent("select")
        self.assertEqual(len(sent), 2)
        self.assertEqual(sent[1], {
            "handles": [{"type": "execution", "id": "a"}, {"type": "execution", "id": "c"}],
            "suspend": True, "cancel_remaining": True,
        })
        with self.assertRaisesRegex(ValueError, "^select requires at least one handle$"):
            cf.select([])
        with self.assertRaisesRegex(TypeError, "not str"):
            cf.select([a, "b"])

    def test_cancel(self):
        cf.cancel([])
        cf.cancel([cf.Execution("a", "m", "t"), cf.Input("b")])
        cf.Execution("c", "m", "t").cancel()
        self.assertEqual(self.sent("cancel"), [
            {"handles": [{"type": "execution", "id": "a"}, {"type": "input", "id": "b"}]},
            {"handles": [{"type": "execution", "id": "c"}]},
        ])

    def test_suspense(self):
        self.answers["select"] = lambda params: None
        handle = cf.Execution("a", "m", "t")
        with cf.suspense(1.5):
            with self.assertRaises(TimeoutError):
                handle.result()
            with cf.suspense():
                with self.assertRaises(TimeoutError):
                    cf.select([handle])
            handle.poll()
        sent = [(p.get("timeout_ms"), p["suspend"]) for p in self.sent("select")]
        self.assertEqual(sent, [(1500, True), (0, True), (0, False)])

    def test_suspend(self):
        self.answers["suspend"] = lambda params: (_ for _ in ()).throw(Refusal("suspend_error", "not supported yet"))
        at = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
        for delay in (None, 0, -1, at, 3600, datetime.timedelta(hours=1)):
            with self.assertRaisesRegex(NotImplementedError, "^suspend_error: not supported yet$"):
                cf.suspend(delay)
        self.assertEqual([p.get("delay") for p in self.sent("suspend")], [None, None, None, None, 3600_000, 3600_000])
        sent = [p.get("execute_after") for p in self.sent("suspend")]
        self.assertEqual(sent[:4], [None, None, None, 1893456000000])
        now = datetime.datetime.now().timestamp() * 1000
        for after in sent[4:]:
            self.assertAlmostEqual(after, now + 3600_000, delta=60_000)


if __name__ == "__main__":
    unittest.main()
