import json
import os
import threading
import unittest

from coflux._channel import Channel, RequestFailed


class ChannelTest(unittest.TestCase):
    def setUp(self):
        read, self.engine_out = os.pipe()
        engine_in, write = os.pipe()
        self.engine = os.fdopen(engine_in, "rb")
        self.channel = Channel(read, write)

    def tearDown(self):
        self.channel._in.close()
        os.close(self.channel._out)
        self.engine.close()
        if self.engine_out is not None:
            os.close(self.engine_out)

    def answer(self, **reply):
        os.write(self.engine_out, json.dumps(reply).encode() + b"\n")

    def test_replies_in_any_order(self):
        first, second = self.channel.request("a", {}), self.channel.request("b", {})
        self.answer(id=second, result=2)
        self.answer(id=first, result=1)
        self.assertEqual((self.channel.wait(first), self.channel.wait(second)), (1, 2))
        self.assertEqual([json.loads(self.engine.readline())["id"] for _ in range(2)], [1, 2])

    def test_refusal(self):
        number = self.channel.request("a", {})
        self.answer(id=number, result=None, error={"code": "c", "message": "m"})
        with self.assertRaisesRegex(RequestFailed, "^c: m$"):
            self.channel.wait(number)

    def test_end_of_stream(self):
        number = self.channel.request("a", {})
        os.close(self.engine_out)
        self.engine_out = None
        with self.assertRaisesRegex(RuntimeError, "Connection closed"):
            self.channel.wait(number)

    def test_a_blocked_thread_holds_nobody_up(self):
        numbers = [self.channel.request("a", {}) for _ in range(3)]
        results = {}
        threads = [threading.Thread(target=lambda n=n: results.update({n: self.channel.wait(n)})) for n in numbers]
        for thread in threads:
            thread.start()
        for number in reversed(numbers):
            self.answer(id=number, result=number * 10)
            threads[number - 1].join(10)
            self.assertEqual(results.get(number), number * 10)
