import collections
import dataclasses
import datetime
import decimal
import enum
import json
import os
import sys
import tempfile
import types
import unittest
import uuid
from unittest import mock

import coflux as cf
from coflux import _codec, _fragments, _json


class Number(enum.IntEnum):
    ONE = 1


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Thing:
    x: int


class Outer:
    class Model:
        """What of pydantic's models matters here."""

        def __init__(self, text):
            self.text = text

        def model_dump_json(self):
            return json.dumps({"text": self.text})

        @classmethod
        def model_validate_json(cls, data):
            return cls(**json.loads(data))

        @classmethod
        def model_validate(cls, value):
            return cls(**value)


NAMES = {
    "cf": cf, "collections": collections, "datetime": datetime, "decimal": decimal, "uuid": uuid, "Number": Number, "Point": Point,
}


def vectors():
    with open(os.path.join(os.path.dirname(__file__), "vectors.json"), encoding="utf-8") as file:
        return json.load(file)


class CodecTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def both(self, value):
        wire = _codec.serialize(value, self.directory)
        return wire, _codec.deserialize(json.loads(json.dumps(wire)))

    def test_vectors(self):
        """vectors.json holds what values look like on the wire; fragments with their content in place of the file."""
        for vector in vectors():
            with self.subTest(vector["python"]):
                value = eval(vector["python"], NAMES)
                wire, got = self.both(value)
                self.assertEqual(json.dumps(wire["value"]), json.dumps(vector["value"]))
                references = wire["references"]
                for reference in references:
                    if reference[0] == "fragment":
                        with open(reference[2], "rb") as file:
                            reference[2] = file.read().hex()
                self.assertEqual(references, vector.get("references", []))
                want = eval(vector["back"], NAMES) if "back" in vector else value
                self.assertEqual(got, want)
                self.assertIs(type(got), type(want))
                if isinstance(want, dict):
                    self.assertEqual(list(got), list(want))

    def test_lone_surrogates(self):
        self.assertEqual(self.both("\ud800")[1], "\ud800")

    def test_large_values_go_into_files(self):
        self.assertEqual(_codec.serialize("x" * (65536 - 2), self.directory)["type"], "inline")
        wire = _codec.serialize("x" * 65536, self.directory)
        self.assertEqual(wire["type"], "file")
        self.assertEqual(os.path.dirname(wire["path"]), self.directory)
        self.assertEqual(_codec.deserialize(wire), "x" * 65536)

    def test_pickled(self):
        wire, got = self.both([Thing(1), 1 + 2j])
        self.assertEqual(got, [Thing(1), 1 + 2j])
        self.assertEqual([(r[1], r[3] > 0, r[4]) for r in wire["references"]],
                         [("pickle", True, {"type": "Thing"}), ("pickle", True, {"type": "complex"})])
        handle = cf.Execution("R:2:1", "m", "t")
        self.assertEqual(self.both(Thing(handle))[1].x, handle)
        self.assertEqual(self.both(Thing(cf.Input[int]("i")))[1].x.__orig_class__, cf.Input[int])
        text = self.both(lambda: 0)[1]
        self.assertTrue(text.startswith("<function"), text)

    def test_models(self):
        installed = mock.patch.dict(sys.modules, pydantic=types.SimpleNamespace(BaseModel=Outer.Model))
        installed.start()
        self.addCleanup(installed.stop)
        wire, got = self.both({"m": Outer.Model("x")})
        self.assertIs(type(got["m"]), Outer.Model)
        self.assertEqual(got["m"].text, "x")
        self.assertEqual(wire["references"][0][4], {"model": f"{__name__}.Outer.Model"})

        class Local(Outer.Model):
            pass

        with self.assertRaisesRegex(TypeError, "Local is defined inside a function"):
            self.both(Local("x"))
        for name in ("no.such.Model", f"{__name__}.Absent"):
            with self.assertRaisesRegex(ValueError, f"the model {name} of a value cannot be found here"):
                _fragments._resolve(name)

    def test_references(self):
        for value in (cf.Input("R/i1"), cf.Asset("Ax", cf.AssetMetadata("n", 2, 30)), cf.Asset("Ax", cf.AssetMetadata(None, 2, 30))):
            wire, got = self.both([value])
            self.assertEqual((got, type(got[0])), ([value], type(value)))
        self.assertEqual(wire["references"], [["asset", "Ax", None, 2, 30]])
        self.assertEqual(got[0].metadata, (None, 2, 30))
        unnamed = {"type": "inline", "value": {"type": "ref", "index": 0}, "references": [["asset", "Ax", "", 1, 2]]}
        self.assertEqual(_codec.deserialize(unnamed).metadata, cf.AssetMetadata(None, 1, 2))

    def test_refused(self):
        loop: list = []
        loop.append(loop)
        with self.assertRaisesRegex(ValueError, "contains itself"):
            self.both(loop)

    def test_numbers_that_json_does_not_have(self):
        inf = float("inf")
        wire, got = self.both([float("nan"), inf, 1.5, -inf, inf, float("nan")])
        self.assertEqual(str(got), "[nan, inf, 1.5, -inf, inf, nan]")
        self.assertEqual([r[1] for r in wire["references"]], ["pickle"] * 3)

    def test_leniency(self):
        plain = {"type": "inline", "format": "json", "value": {"a": {"type": "x", "items": [1]}}}
        self.assertEqual(_codec.deserialize(plain), {"a": {"type": "x", "items": [1]}})
        self.assertIsNone(_codec.deserialize({"type": "raw", "value": 1}))

        def referring(*references):
            return {"type": "inline", "value": {"type": "ref", "index": 0}, "references": list(references)}

        self.assertIsNone(_codec.deserialize(referring()))
        self.assertIsNone(_codec.deserialize(referring(["fragment", "odd", "/x", 1, {}])))
        self.assertIsNone(_codec.deserialize(referring(["fragment", "bytes", None, 1, {}])))
        with self.assertRaisesRegex(TypeError, "a reference of kind odd is not known"):
            _codec.deserialize(referring(["odd", 1]))

    def test_older_formats(self):
        import base64
        import pickle

        sys.modules[__name__].TopModel = Outer.Model
        data = pickle.dumps({"a": 1})
        path = _codec.write_file(data, self.directory, "")
        for wire, want in [
            ({"type": "inline", "format": "pickle", "value": base64.b64encode(data).decode()}, {"a": 1}),
            ({"type": "file", "format": "pickle", "path": path}, {"a": 1}),
        ]:
            self.assertEqual(_codec.deserialize(wire), want)
        metadata = {"model_class": "TopModel", "model_module": __name__}
        got = _codec.deserialize({"type": "inline", "format": "pydantic", "value": {"text": "x"}, "metadata": metadata})
        self.assertEqual(got.text, "x")
        with self.assertRaisesRegex(ValueError, "Unknown format 'odd'"):
            _codec.deserialize({"type": "inline", "format": "odd", "value": 1})

    def test_json_fragments_without_model(self):
        path = _codec.write_file(b'{"a": [1]}', self.directory, "")
        self.assertEqual(_fragments.decode("json", path, {}), {"a": [1]})


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
