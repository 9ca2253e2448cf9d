"""The adapter program as a process, spoken to on stdin and stdout as any engine does."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import coflux

MODULE = """
import coflux as cf

class Model:
    @classmethod
    def model_validate(cls, raw):
        return ["validated", raw]

@cf.task(name="named")
def fn(x):
    return x

@cf.workflow()
def waits():
    print("before")
    with cf.suspense(1):
        cf.Execution("R:9:1", "m", "t").result()

@cf.workflow()
def suspends():
    try:
        cf.suspend(5)
    finally:
        print("never")

@cf.task()
def asks(first: "cf.Input[Model]", second):
    return [first.result(), second.result()]

@cf.task(retries=cf.Retries(when=lambda exc: 1 / 0))
def confused():
    raise ValueError("x")

@cf.task(retries=cf.Retries(when=OSError))
def tried():
    raise ValueError("x")

@cf.task()
def reraises():
    cf.Execution("R:9:1", "m", "t").result()
"""


def inline(value, *references):
    return {"type": "inline", "format": "json", "value": value, "references": list(references)}


class ExecuteTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        with open(os.path.join(directory.name, "subject.py"), "w") as file:
            file.write(MODULE)
        work = os.path.join(directory.name, "work")
        os.mkdir(work)
        package = os.path.dirname(os.path.dirname(coflux.__file__))
        env = dict(os.environ, PYTHONPATH=os.pathsep.join([directory.name, package]), PYTHONDONTWRITEBYTECODE="1")
        env.pop("COFLUX_PROTOCOL_FD", None)
        self.process = subprocess.Popen([sys.executable, "-m", "coflux", "execute"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.addCleanup(self.end)
        self.work = work
        self.assertEqual(self.read(), {"method": "ready", "params": {"version": "0.11"}})

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def read(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def send(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def execute(self, target, *arguments, module="subject"):
        params = {"execution_id": "E", "module": module, "target": target, "arguments": arguments, "working_dir": self.work}
        self.send({"method": "execute", "params": params})

    def final(self):
        """The final message; the process then ends by itself."""
        message = self.read()
        self.assertIsNone(self.read())
        self.assertEqual(self.process.wait(10), 0)
        return message["params"].get("error") or message["params"]["result"]

    def test_a_target_is_found_by_its_name(self):
        self.execute("named", inline(7))
        self.assertEqual(self.final(), inline(7))

    def test_a_module_that_cannot_be_imported(self):
        self.execute("x", module="absent")
        error = self.final()
        self.assertEqual((error["type"], error["message"]), ("builtins.ModuleNotFoundError", "No module named 'absent'"))

    def test_the_end_of_stdin_before_any_work(self):
        self.process.stdin.close()
        self.assertEqual(self.process.wait(10), 0)

    def test_suspension_by_a_wait(self):
        self.execute("waits")
        self.assertEqual(self.read()["params"]["template"], "before")
        request = self.read()
        self.assertEqual((request["method"], request["params"]["timeout_ms"], request["params"]["suspend"]), ("select", 1000, True))
        self.send({"id": request["id"], "result": None})
        self.assertEqual(self.final()["type"], "builtins.TimeoutError")  # an engine has killed it before

    def test_suspension(self):
        self.execute("suspends")
        request = self.read()
        self.assertEqual(request["method"], "suspend")
        self.send({"id": request["id"], "result": {}})
        self.process.stdin.close()
        self.assertIsNone(self.read())
        self.assertEqual(self.process.wait(10), 0)

    def test_inputs_get_their_type_from_the_annotation(self):
        references = [["input", "R/i1"]], [["input", "R/i2"]]
        self.execute("asks", *[inline({"type": "ref", "index": 0}, *reference) for reference in references])
        for name in ("R/i1", "R/i2"):
            request = self.read()
            self.assertEqual(request["params"]["handles"], [{"type": "input", "id": name}])
            outcome = {"winner": 0, "status": "ok", "value": inline({"a": 1})}
            self.send({"id": request["id"], "result": outcome})
        want = [["validated", {"a": 1}], {"a": 1}]
        plain = json.loads(json.dumps(self.final()["value"]).replace('{"type": "dict", "items": ["a", 1]}', '{"a": 1}'))
        self.assertEqual(plain, want)

    def test_retryable(self):
        self.execute("tried")
        error = self.final()
        self.assertEqual((error["type"], error["retryable"]), ("builtins.ValueError", False))

    def test_a_filter_that_raises_replaces_the_error(self):
        self.execute("confused")
        error = self.final()
        self.assertEqual((error["type"], error.get("retryable")), ("builtins.ZeroDivisionError", None))
        self.assertIn("ValueError: x", error["traceback"])

    def test_a_remote_error_that_goes_on_keeps_its_type(self):
        self.execute("reraises")
        request = self.read()
        failure = {"type": "subject.Model.Odd", "message": "m"}
        self.send({"id": request["id"], "result": {"winner": 0, "status": "error", "error": failure}})
        error = self.final()
        self.assertEqual((error["type"], error["message"]), ("subject.Model.Odd", "m"))


class UsageTest(unittest.TestCase):
    def test_usage(self):
        for args in ([], ["discover"], ["execute", "x"], ["odd"]):
            run = subprocess.run([sys.executable, "-m", "coflux", *args], capture_output=True, text=True)
            self.assertEqual(run.returncode, 2)
            self.assertIn("usage: python -m coflux discover", run.stderr)


if __name__ == "__main__":
    unittest.main()
