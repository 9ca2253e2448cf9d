"""Prompts, assets, metrics: what is said on the wire, and what becomes of the replies."""

import datetime
import decimal
import hashlib
import json
import os
import pathlib
import tempfile
import unittest

import coflux as cf
from engine import EngineTest, Refusal, outcome


class Answer:
    def __init__(self, **values):
        self.values = values

    @classmethod
    def model_json_schema(cls):
        return {"type": "object"}

    @classmethod
    def model_validate(cls, raw):
        return cls(**raw)

    def model_dump(self, mode):
        assert mode == "json"
        return self.values


class PromptTest(EngineTest):
    def setUp(self):
        super().setUp()
        self.answers["submit_input"] = lambda params: {"input_id": "R/i1"}

    def test_what_is_sent(self):
        prompt = cf.Prompt("Well, {who}?", Answer, title="T", actions=("Yes", "No"), requires={"team": "a"})
        handle = prompt.with_initial(Answer(x=1)).submit(who="Joe")
        self.assertEqual((handle.id, handle.__orig_class__), ("R/i1", cf.Input[Answer]))
        [sent] = self.sent("submit_input")
        key = hashlib.sha256(b"Well, {who}?")
        placeholder = {"type": "inline", "format": "json", "value": "Joe", "references": []}
        for part in (json.dumps({"who": placeholder}, sort_keys=True), '{"type": "object"}', "T", '["Yes", "No"]'):
            key.update(part.encode())
        self.assertEqual(sent, {
            "template": "Well, {who}?", "key": key.hexdigest()[:16], "placeholders": {"who": placeholder},
            "schema": '{"type": "object"}', "title": "T", "actions": ["Yes", "No"], "requires": {"team": ["a"]},
            "initial": {"x": 1},
        })

    def test_copies(self):
        prompt = cf.Prompt("t")
        prompt.with_key("k").with_actions("a", "b").with_requires({"x": True}).with_initial(None).submit()
        prompt.submit()
        changed, plain = self.sent("submit_input")
        self.assertEqual(changed, {
            "template": "t", "key": "k", "actions": ["a", "b"], "requires": {"x": ["true"]}, "initial": None,
        })
        self.assertEqual(plain, {"template": "t", "key": hashlib.sha256(b"t").hexdigest()[:16]})

    def test_keys_are_of_the_content(self):
        keys = []
        big = {i: "x" for i in range(20000)}
        for data in (b"a", b"a", b"b", "x" * 70000, "x" * 70000, "y" * 70000, {1: 2, 3: 4}, {3: 4, 1: 2}, big, dict(reversed(big.items()))):
            cf.Prompt("{d}").submit(d=data)
            keys.append(self.sent("submit_input")[-1]["key"])
        self.assertEqual([keys.index(key) for key in keys], [0, 0, 2, 3, 3, 5, 6, 6, 8, 8])

    def test_models(self):
        for model, schema in [
            (str, {"type": "string"}), (int, {"type": "integer"}), (float, {"type": "number"}), (bool, {"type": "boolean"}),
            (datetime.date, {"type": "string", "format": "date"}), (datetime.time, {"type": "string", "format": "time"}),
            (datetime.datetime, {"type": "string", "format": "date-time"}),
        ]:
            cf.Prompt("t", model).submit()
            self.assertEqual(json.loads(self.sent("submit_input")[-1]["schema"]), schema)
        for schema, text in [({"a": 1}, '{"a": 1}'), ('{"b":2}', '{"b":2}')]:
            cf.Prompt("t", schema=schema).submit()
            self.assertEqual(self.sent("submit_input")[-1]["schema"], text)
        with self.assertRaisesRegex(TypeError, "the model of a prompt must have model_json_schema"):
            cf.Prompt("t", list)

    def test_calls_wait_for_the_answer(self):
        self.answers["select"] = lambda params: outcome(value={"x": 1})
        self.assertEqual(cf.Prompt("t", Answer)().values, {"x": 1})


class MetricTest(EngineTest):
    def test_points(self):
        group = cf.MetricGroup("g", units="s", lower=0, upper=9)
        scale = cf.MetricScale("s", units="%", lower=1, upper=2)
        metric = cf.Metric("k", group=group, scale=scale, throttle=None)
        metric.record(1)
        metric.record(2.5, at=7)
        cf.Metric("k", group=group, scale=scale, throttle=3).record(3)  # throttle is not compared
        cf.Metric("bare").record(0)
        self.assertEqual(metric.key, "k")
        self.assertEqual(self.sent("define_metric"), [
            {"key": "k", "definition": {
                "group": "g", "group_units": "s", "group_lower": 0, "group_upper": 9,
                "scale": "s", "units": "%", "lower": 1, "upper": 2,
            }},
            {"key": "bare", "definition": {"throttle": 10}},
        ])
        self.assertEqual(self.sent("metric"), [
            {"key": "k", "value": 1}, {"key": "k", "value": 2.5, "at": 7}, {"key": "k", "value": 3}, {"key": "bare", "value": 0},
        ])

    def test_what_cannot_be_drawn(self):
        for value, at in [(float("nan"), None), (float("inf"), None), (1, float("nan"))]:
            cf.Metric("k").record(value, at=at)
        self.assertEqual(self.sent("metric"), [])
        cf.Metric("k").record(decimal.Decimal("1.5"))
        self.assertEqual(self.sent("metric"), [{"key": "k", "value": 1.5}])

    def test_contradictions(self):
        cf.Metric("k", group="g", scale="s").record(1)
        for metric, text in [
            (cf.Metric("k"), "Metric 'k' already defined"),
            (cf.Metric("l", group=cf.MetricGroup("g", units="x")), "Group 'g' already defined"),
            (cf.Metric("m", group="new", scale=cf.MetricScale("s", units="x")), "Scale 's' already defined"),
        ]:
            with self.assertRaisesRegex(ValueError, f"^{text} in this execution with different configuration$"):
                metric.record(1)
        cf.Metric("n", group=cf.MetricGroup("new", units="y")).record(1)  # the refused one left nothing behind

    def test_progress(self):
        seen = []
        for item in cf.progress(x for x in "abc"):
            seen.append((item, len(self.sent("metric"))))
        self.assertEqual(seen, [("a", 0), ("b", 1), ("c", 2)])
        [defined] = self.sent("define_metric")
        self.assertEqual(defined, {"key": "progress", "definition": {"upper": 3, "progress": True, "throttle": 10}})
        self.assertEqual([point["value"] for point in self.sent("metric")], [1, 2, 3])


class AssetTest(EngineTest):
    def setUp(self):
        super().setUp()
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(work.name)
        for path in ("a.txt", "sub/b.json", "sub/.hidden", "sub/c"):
            pathlib.Path(path).parent.mkdir(exist_ok=True)
            pathlib.Path(path).write_text(path)
        self.stored = {}
        self.answers["upload_blob"] = self.upload
        self.answers["persist_asset"] = self.persist
        self.answers["get_asset"] = lambda params: {"entries": self.stored[params["asset_id"]]}
        self.answers["download_blob"] = self.download

    def upload(self, params):
        return {"blob_key": "key of " + pathlib.Path(params["source_path"]).read_text()}

    def persist(self, params):
        assert params["paths"] == []
        name = f"A{len(self.stored)}"
        self.stored[name] = entries = params["entries"]
        size = sum(entry[1] for entry in entries.values())
        return {"asset_id": name, "reference": ["asset", name, params["metadata"].get("name"), len(entries), size]}

    def download(self, params):
        path = pathlib.Path(params["target_path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(params["blob_key"].removeprefix("key of "))
        return {}

    def paths(self, asset):
        return {path: entry[0].removeprefix("key of ") for path, entry in self.stored[asset.id].items()}

    def test_what_is_collected(self):
        everything = {path: path for path in ("a.txt", "sub/b.json", "sub/.hidden", "sub/c")}
        whole = cf.asset(name="n")
        self.assertEqual((self.paths(whole), whole.metadata), (everything, cf.AssetMetadata("n", 4, 31)))
        self.assertEqual(self.stored[whole.id]["sub/b.json"], ["key of sub/b.json", 10, {"type": "application/json"}])
        self.assertEqual(self.stored[whole.id]["sub/c"], ["key of sub/c", 5, {}])
        for entries, options, want in [
            (None, {"match": "*.json"}, {"sub/b.json": "sub/b.json"}),
            (None, {"at": "sub", "match": "[bc]*"}, {"b.json": "sub/b.json", "c": "sub/c"}),
            ("b.json", {"at": pathlib.Path("sub")}, {"b.json": "sub/b.json"}),
            (["a.txt", pathlib.Path("sub/c")], {"match": "nothing"}, {"a.txt": "a.txt", "sub/c": "sub/c"}),
            ([os.path.abspath("sub/c")], {}, {"sub/c": "sub/c"}),
            (["../a.txt"], {"at": "sub"}, {"a.txt": "a.txt"}),
            (whole, {"match": "sub/*"}, {path: path for path in everything if path != "a.txt"}),
            ({"x/y": "a.txt", "z": whole["sub/c"], "w/": whole, "no": "a.txt"}, {"match": "[!n]*"},
             {"x/y": "a.txt", "z": "sub/c", **{f"w/{path}": path for path in everything}}),
        ]:
            with self.subTest(entries=entries, **options):
                self.assertEqual(self.paths(cf.asset(entries, **options)), want)

    def test_refused(self):
        for entries, options, kind, text in [
            (None, {"match": "nothing"}, ValueError, "^No files found to create asset$"),
            ("absent", {}, ValueError, "^No files found to create asset$"),
            (["absent"], {}, FileNotFoundError, "absent is not a file"),
            ({"x": "sub"}, {}, FileNotFoundError, "sub is not a file"),
            ({"x": "a.txt"}, {"at": "."}, ValueError, "'at' has no meaning with a dict"),
            ({"../x": "a.txt"}, {}, ValueError, "must not lead out of it"),
            ({"/x": "a.txt"}, {}, ValueError, "must be relative"),
            ({"x": 5}, {}, TypeError, "not 5"),
        ]:
            with self.subTest(entries=entries), self.assertRaisesRegex(kind, text):
                cf.asset(entries, **options)

    def test_reading(self):
        asset = cf.Asset(cf.asset().id, cf.AssetMetadata(None, 4, 0))
        self.assertIn("sub/c", asset)
        self.assertNotIn("c", asset)
        self.assertRaises(KeyError, lambda: asset["c"])
        self.assertEqual(sorted(entry.path for entry in asset.entries)[0], "a.txt")
        self.assertEqual(len(self.sent("get_asset")), 1)
        got = asset.restore(match="sub/*", at="out")
        self.assertEqual(got["sub/c"], pathlib.Path.cwd() / "out/sub/c")
        self.assertEqual(sorted(got), ["sub/.hidden", "sub/b.json", "sub/c"])
        self.assertEqual(got["sub/b.json"].read_text(), "sub/b.json")
        self.assertEqual(asset["a.txt"].restore(), pathlib.Path.cwd() / "a.txt")
        with self.assertRaisesRegex(ValueError, "must not lead out"):
            asset["a.txt"]._replace(path="../../a").restore()

    def test_unsupported(self):
        self.answers["upload_blob"] = lambda params: (_ for _ in ()).throw(Refusal("upload_error", "assets are not supported yet"))
        with self.assertRaisesRegex(NotImplementedError, "^upload_error: assets are not supported yet$"):
            cf.asset("a.txt")


if __name__ == "__main__":
    unittest.main()
