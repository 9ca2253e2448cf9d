"""A fake engine at the other end of the pipes: it notes what it is told and answers what the test wants."""

import json
import os
import tempfile
import threading
import unittest

from coflux import _context
from coflux._channel import Channel


class Refusal(Exception):
    def __init__(self, code, message):
        self.reply = {"code": code, "message": message}


class EngineTest(unittest.TestCase):
    """self.answers maps a method to a function of its params; self.said is every message, without the execution's id."""

    def setUp(self):
        read, out = os.pipe()
        inp, write = os.pipe()
        self.inp, self.out = os.fdopen(inp, "rb"), os.fdopen(out, "wb", 0)
        self.channel = Channel(read, write)
        self.directory = tempfile.TemporaryDirectory()
        self.context = _context.Context(self.channel, "R:1:1", self.directory.name)
        self.said = []
        self.answers = {"submit_execution": self.submitted, "cancel": lambda params: {}}
        self.children = 0
        _context.enter(self.context)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def tearDown(self):
        _context._current = None
        os.close(self.channel._out)
        self.thread.join(10)
        self.channel._in.close()
        self.inp.close()
        self.directory.cleanup()

    def serve(self):
        for line in self.inp:
            message = json.loads(line)
            params = message["params"]
            assert params.pop("execution_id") == "R:1:1"
            self.said.append((message["method"], params))
            if "id" in message:
                reply = {"id": message["id"], "result": None}
                try:
                    reply["result"] = self.answers[message["method"]](params)
                except Refusal as refusal:
                    reply["error"] = refusal.reply
                self.out.write(json.dumps(reply).encode() + b"\n")
        self.out.close()

    def submitted(self, params):
        self.children += 1
        return {"execution_id": f"R:{self.children + 1}:1", "module": params["module"], "target": params["target"]}

    def sent(self, method):
        """What was said under the method so far; notifications sent before are in it."""
        self.answers["flush"] = lambda params: None
        self.context.ask("flush", {})
        return [params for name, params in self.said if name == method]


def outcome(winner=0, value=None, **other):
    return {"winner": winner, "status": "ok", "value": {"type": "inline", "format": "json", "value": value}, **other}
