import datetime
import decimal
import enum
import json
import os
import tempfile
import unittest
import uuid
from collections import OrderedDict, namedtuple

from coflux import _codec, _json
from coflux._execution import Execution


class Number(enum.IntEnum):
    ONE = 1


Point = namedtuple("Point", "x y")


class CodecTest(unittest.TestCase):
    def both(self, value):
        with tempfile.TemporaryDirectory() as directory:
            wire = _codec.serialize(value, directory)
            return wire, _codec.deserialize(json.loads(json.dumps(wire)))

    def test_round_trip(self):
        zone = datetime.timezone(datetime.timedelta(hours=2))
        for value in [
            None, True, 0, -1, 2**80, 1.5, 3.0, 1e300, "", "\u00e9 \U0001f600 \\ \" \n", "\ud800",
            [], [1, [2]], {}, {"type": "dict"}, {1: {"a": None}, (1, 2): []}, {1, 2}, set(), (), (1, (2,)),
            datetime.datetime(2024, 5, 1, 10, tzinfo=zone), datetime.datetime(2024, 5, 1, 10, 0, 0, 5),
            datetime.date(2024, 5, 1), datetime.time(10, 0), datetime.timedelta(seconds=61.5),
            decimal.Decimal("1.10"), uuid.UUID(int=7),
        ]:
            with self.subTest(value=value):
                _, got = self.both(value)
                self.assertEqual(got, value)
                self.assertIs(type(got), type(value))

    def test_encoding(self):
        for value, want in [
            ({"b": 1, "a": 2}, {"type": "dict", "items": ["a", 2, "b", 1]}),
            (OrderedDict([("b", 1), ("a", 2)]), {"type": "dict", "items": ["b", 1, "a", 2]}),
            (frozenset([2, 1]), {"type": "set", "items": [1, 2]}),
            (Point(1, 2), {"type": "tuple", "items": [1, 2]}),
            (datetime.timedelta(seconds=61.5), {"type": "duration", "value": 61.5}),
        ]:
            self.assertEqual(self.both(value)[0]["value"], want)
        self.assertIs(type(self.both(Number.ONE)[1]), int)

    def test_references(self):
        wire, got = self.both([Execution("R:1:1", "m", "t"), Execution("R:2:1", "m", "t")])
        self.assertEqual(wire["references"], [["execution", "R:1:1", "m", "t"], ["execution", "R:2:1", "m", "t"]])
        self.assertEqual([x.id for x in got], ["R:1:1", "R:2:1"])

    def test_large_values_go_into_files(self):
        with tempfile.TemporaryDirectory() as directory:
            self.assertEqual(_codec.serialize("x" * (65536 - 2), directory)["type"], "inline")
            wire = _codec.serialize("x" * 65536, directory)
            self.assertEqual(wire["type"], "file")
            self.assertEqual(os.path.dirname(wire["path"]), directory)
            self.assertEqual(_codec.deserialize(wire), "x" * 65536)

    def test_refused(self):
        loop: list = []
        loop.append(loop)
        for value, error, text in [
            (b"x", TypeError, "a value of type bytes cannot be passed yet"),
            (object(), TypeError, "a value of type object cannot be passed yet"),
            (float("nan"), ValueError, "NaN and Infinity cannot be passed"),
            (loop, ValueError, "contains itself"),
        ]:
            with self.assertRaisesRegex(error, text):
                self.both(value)

    def test_leniency(self):
        plain = {"type": "inline", "format": "json", "value": {"a": {"type": "x", "items": [1]}}}
        self.assertEqual(_codec.deserialize(plain), {"a": {"type": "x", "items": [1]}})
        self.assertIsNone(_codec.deserialize({"type": "raw", "value": 1}))
        self.assertIsNone(_codec.deserialize({"type": "inline", "value": {"type": "ref", "index": 3}}))
        with self.assertRaisesRegex(ValueError, "Unknown format"):
            _codec.deserialize({"type": "inline", "format": "odd", "value": 1})


class JsonTest(unittest.TestCase):
    def test_both_ways_agree(self):
        dumps, loads = _json._fall_back()
        for value in [None, 1, 2.5, "a\"\u2028\x00\x1f", [], {}, {"a": [1, {"b": None}], "\u00e9": True}, 2**70, "\ud800"]:
            self.assertEqual(_json.dumps(value), dumps(value))
            self.assertEqual(_json.loads(dumps(value)), value)
            self.assertEqual(loads(_json.dumps(value)), value)
        self.assertEqual(_json.dumps.__qualname__, "_build.<locals>.dumps", "the fast way is not used")

    def test_wrong_texts(self):
        for text in [b"", b"{", b"1 2", b"x", b'{"a":}']:
            with self.assertRaises(ValueError):
                _json.loads(text)
