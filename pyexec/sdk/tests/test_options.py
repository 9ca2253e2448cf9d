import datetime
import unittest

import coflux as cf


def wire(**options):
    @cf.task(**options)
    def target(a, b, c):
        pass

    return target.options.wire()


class OptionsTest(unittest.TestCase):
    def test_wire(self):
        minute = datetime.timedelta(minutes=1)
        for options, want in [
            ({}, {}),
            ({"wait": True}, {"wait_for": [0, 1, 2]}),
            ({"wait": "c, a"}, {"wait_for": [0, 2]}),
            ({"wait": ["b"]}, {"wait_for": [1]}),
            ({"cache": True}, {"cache": {"params": True}}),
            ({"cache": 1.5}, {"cache": {"params": True, "max_age_ms": 1500}}),
            ({"cache": minute}, {"cache": {"params": True, "max_age_ms": 60000}}),
            ({"cache": 0}, {}), ({"cache": datetime.timedelta(0)}, {}), ({"cache": False}, {}),
            ({"cache": cf.Cache(0, params="c,a", namespace="n", version="v")},
             {"cache": {"params": [2, 0], "max_age_ms": 0, "namespace": "n", "version": "v"}}),
            ({"cache": cf.Cache(namespace="", params=[])}, {"cache": {"params": []}}),
            ({"retries": 3}, {"retries": {"limit": 3}}),
            ({"retries": True}, {"retries": {"backoff_min_ms": 1000, "backoff_max_ms": 60000}}),
            ({"retries": cf.Retries(2, backoff=(0, minute))}, {"retries": {"limit": 2, "backoff_max_ms": 60000}}),
            ({"retries": cf.Retries(0)}, {}), ({"retries": 0}, {}), ({"retries": False}, {}),
            ({"defer": True}, {"defer": {"params": True}}), ({"defer": False}, {}),
            ({"defer": cf.Defer(params="b")}, {"defer": {"params": [1]}}),
            ({"memo": True}, {"memo": True}), ({"memo": False}, {"memo": False}), ({"memo": "b"}, {"memo": [1]}),
            ({"requires": {"gpu": True, "os": "linux", "zone": ["a", "b"], "x": []}},
             {"requires": {"gpu": ["true"], "os": ["linux"], "zone": ["a", "b"], "x": []}}),
            ({"requires": {}}, {}), ({"recurrent": True}, {"recurrent": True}),
            ({"delay": 0.0019, "timeout": minute}, {"delay": 1, "timeout": 60000}),
        ]:
            with self.subTest(options=options):
                self.assertEqual(wire(**options), want)

    def test_durable(self):
        @cf.workflow(durable=True)
        def flow():
            pass

        self.assertEqual(flow.options.wire(), {"durable": True})

        @cf.workflow()
        def other():
            pass

        self.assertEqual(other.options.wire(), {})
        with self.assertRaises(TypeError):
            cf.task(durable=True)

    def test_refused(self):
        for options, kind, text in [
            ({"wait": "z"}, ValueError, r"Unrecognised parameter in wait \(z\)"),
            ({"memo": ["z"]}, ValueError, r"Unrecognised parameter in memo \(z\)"),
            ({"cache": "long"}, TypeError, "cache must be seconds or a timedelta, not 'long'"),
            ({"timeout": -1}, ValueError, "timeout must be a time from 0, not -1"),
            ({"retries": "x"}, TypeError, "retries must be a number"),
            ({"defer": 5}, TypeError, "defer must be a bool or Defer"),
            ({"requires": {"a": [1]}}, TypeError, "requires must map names"),
            ({"colour": 1}, TypeError, "unexpected keyword argument 'colour'"),
        ]:
            with self.subTest(options=options), self.assertRaisesRegex(kind, text):
                wire(**options)
        with self.assertRaisesRegex(ValueError, r"Unrecognised parameter in Cache.params \(z\)"):
            wire(cache=cf.Cache(params="z"))
        with self.assertRaisesRegex(TypeError, "memo of a workflow"):
            cf.workflow(memo="a")
        for make in (lambda: cf.Retries(-1), lambda: cf.Retries(backoff=(2, 1)), lambda: cf.Retries(True)):
            self.assertRaises(ValueError, make)

    def test_when(self):
        for when, want in [
            (None, [None, None]), (OSError, [True, False]), ((KeyError, OSError), [True, False]),
            (lambda exc: "x" in str(exc), [True, False]),
        ]:
            retries = cf.Retries(when=when)
            self.assertEqual([retries.accepts(OSError("x")), retries.accepts(ValueError("y"))], want)
        for when in (5, "OSError", (OSError, 5), ()):
            if when != ():
                with self.assertRaisesRegex(TypeError, "^Invalid 'when' argument: "):
                    cf.Retries(when=when)

    def test_with(self):
        @cf.task(retries=1)
        def target(a):
            return a

        changed = target.with_cache(5).with_defer(True).with_memo("a").with_delay(1).with_timeout(2)
        changed = changed.with_requires({"x": "y"}).with_retries(cf.Retries(7, backoff=(0, 0)))
        self.assertEqual(target.options.wire(), {"retries": {"limit": 1}})
        self.assertEqual(changed.options.wire(), {
            "cache": {"params": True, "max_age_ms": 5000}, "retries": {"limit": 7}, "defer": {"params": True}, "memo": [0],
            "requires": {"x": ["y"]}, "delay": 1000, "timeout": 2000,
        })
        self.assertEqual((changed(3), changed.name, changed.module, changed.fn), (3, "target", __name__, target.fn))

    def test_objects(self):
        cache = cf.Cache(5, params=["a"])
        self.assertEqual(cache, cf.Cache(5, params=("a",)))
        self.assertEqual(hash(cache), hash(cf.Cache(5, params=("a",))))
        self.assertNotEqual(cf.Cache(), cf.Defer())
        self.assertEqual(repr(cf.Retries(2)), "Retries(limit=2, backoff=(1, 60), when=None)")
        for change in (lambda: setattr(cache, "max_age", 6), lambda: delattr(cache, "max_age"), lambda: setattr(cache, "x", 6)):
            self.assertRaises(AttributeError, change)
        import copy

        self.assertEqual(copy.deepcopy(cache), cache)
