import asyncio
import functools
import subprocess
import sys
import types
import unittest

import coflux as cf
from coflux import _discover, _errors, _handles, _target


@cf.task()
def add(a, b=10, c=100):
    """Adds."""
    return a + b + c


@cf.workflow()
async def later(x):
    return x


class TargetTest(unittest.TestCase):
    def test_plain_calls_run_the_function(self):
        self.assertEqual(add(1), 111)
        self.assertEqual(add(1, c=2), 13)
        self.assertEqual(later(3), 3)
        self.assertEqual((add.__name__, add.__doc__, add.module), ("add", "Adds.", __name__))

    def test_engine_calls_need_an_execution(self):
        for call in [lambda: add.submit(1), lambda: cf.log_info("x"), lambda: cf.group().__enter__(),
                     lambda: cf.Execution("x", "m", "t").result(), lambda: cf.Execution("x", "m", "t").cancel(),
                     lambda: cf.Input("x").poll(), lambda: cf.suspense().__enter__(), cf.suspend, lambda: cf.select([]),
                     lambda: cf.cancel([]), cf.asset, lambda: cf.Metric("k").record(1), lambda: cf.Prompt("t")(),
                     lambda: cf.Asset("a", cf.AssetMetadata(None, 0, 0)).entries,
                     lambda: cf.Asset("a", cf.AssetMetadata(None, 0, 0)).restore(),
                     lambda: cf.AssetEntry("p", "b", 0, {}).restore()]:
            with self.assertRaisesRegex(RuntimeError, "^Not in an execution context$"):
                call()

    def test_binding(self):
        self.assertEqual(add.bind((1,), {}), [1])
        self.assertEqual(add.bind((1,), {"c": 5}), [1, 10, 5])
        self.assertEqual(add.bind((), {"a": 1, "b": 2}), [1, 2])
        for args, kwargs, text in [
            ((), {}, "missing the argument 'a'"),
            ((1, 2, 3, 4), {}, "takes 3 arguments but 4 were given"),
            ((1,), {"a": 2}, "multiple values"),
            ((1,), {"z": 2}, "unexpected keyword argument 'z'"),
        ]:
            with self.assertRaisesRegex(TypeError, text):
                add.bind(args, kwargs)

    def test_stubs(self):
        @cf.stub("other.place", name="far", type="workflow", retries=1)
        def near(a, b=2):
            return a + b

        self.assertEqual((near.module, near.name, near.kind, near(1)), ("other.place", "far", "workflow", 3))
        self.assertEqual((near.bind((), {"a": 1}), near.options.wire()), ([1], {"retries": {"limit": 1}}))
        with self.assertRaisesRegex(ValueError, "'task' or 'workflow', not 'x'"):
            cf.stub("m", type="x")
        with self.assertRaisesRegex(TypeError, "name of the target's module"):
            cf.stub(near)

    def test_lookup(self):
        module = types.ModuleType("m")
        module.copy = add.with_retries(1)
        module.stub = cf.stub("m", name="add")(lambda: 0)
        self.assertIsNone(_target.find(module, "add"))
        module.other_name = add
        self.assertIs(_target.find(module, "add"), add)
        self.assertEqual([t["name"] for t in _discover.manifest_targets([module])], ["add"])

    def test_definition(self):
        @cf.task(cache=cf.Cache(5, params="b"), memo=False, wait="a", requires={"x": True})
        def target(a: int, b="x", c=object()):
            """Says what it does."""

        definition = target.definition
        self.assertEqual(definition, {
            "module": __name__, "name": "target", "type": "task", "wait_for": [0], "requires": {"x": ["true"]},
            "cache": {"params": [1], "max_age_ms": 5000}, "instruction": "Says what it does.",
            "parameters": [
                {"name": "a", "annotation": "int", "default": None},
                {"name": "b", "annotation": None, "default": '"x"'},
                {"name": "c", "annotation": None, "default": None},
            ],
        })

    def test_in_a_running_loop_the_coroutine_is_handed_on(self):
        async def main():
            return await later(4)

        self.assertEqual(asyncio.run(main()), 4)

    def test_decorated_functions(self):
        @functools.wraps(add.fn)
        def outer(*args, **kwargs):
            return add.fn(*args, **kwargs) + 1

        target = cf.task()(outer)
        self.assertEqual((target.bind((1,), {"c": 5}), target(1), target.name), ([1, 10, 5], 112, "add"))
        with self.assertRaisesRegex(TypeError, "only functions can be tasks"):
            cf.task()(len)
        with self.assertRaisesRegex(TypeError, "add is a task already"):
            cf.workflow()(add)

    def test_unsupported_parameters(self):
        for fn in [lambda *a: 0, lambda **k: 0, lambda *, k: 0, lambda p, /: 0]:
            with self.assertRaisesRegex(Exception, "^Unsupported parameter type"):
                cf.task()(fn)

    def test_input_models(self):
        def fn(a: cf.Input[int], b: "cf.Input[str] | None", c: "Nowhere", d, e: cf.Input):
            pass

        got = _handles.retype(fn, [cf.Input(str(i)) for i in range(5)])
        of = [getattr(x, "__orig_class__", None) for x in got]
        self.assertEqual(of, [cf.Input[int], cf.Input[str], None, None, None])
        self.assertEqual([x.id for x in got], list("01234"))
        self.assertEqual(_handles.retype(fn, [1, "x"]), [1, "x"])

    def test_exports(self):
        for name in cf.__all__:
            self.assertIsNotNone(getattr(cf, name))
        public = {name for name in vars(cf) if not name.startswith("_") and type(vars(cf)[name]).__name__ != "module"}
        self.assertEqual(public - {"TYPE_CHECKING"}, set(cf.__all__) - {"__version__"})
        self.assertEqual(set(cf.__all__) - set(dir(cf)), set())
        self.assertRaises(AttributeError, lambda: cf.nothing)


class ErrorTest(unittest.TestCase):
    def test_rebuilt_errors_are_both(self):
        exc = _errors.rebuild("builtins.ZeroDivisionError", "no")
        self.assertIsInstance(exc, cf.ExecutionError)
        self.assertIsInstance(exc, ZeroDivisionError)
        self.assertEqual((str(exc), exc.error_type, type(exc).__name__), ("no", "builtins.ZeroDivisionError", "ZeroDivisionError"))
        self.assertEqual(_errors.type_name(exc), "builtins.ZeroDivisionError")
        self.assertIs(type(exc), type(_errors.rebuild("builtins.ZeroDivisionError", "again")))
        self.assertEqual(str(_errors.rebuild("builtins.KeyError", "k")), "k")

    def test_plain_where_it_cannot_be_rebuilt(self):
        for name in ["no.such.Module", "builtins.Exception", "builtins.int", "", "builtins.UnicodeDecodeError", "Odd"]:
            exc = _errors.rebuild(name, "text")
            self.assertIs(type(exc), cf.ExecutionError)
            self.assertEqual((str(exc), _errors.type_name(exc)), ("text", name))

    def test_own_names(self):
        class Local(cf.ExecutionError):
            pass

        self.assertTrue(_errors.type_name(Local("a", "b")).endswith("Local"))
        self.assertTrue(issubclass(cf.ExecutionTimeout, cf.ExecutionTerminated))


class ImportTest(unittest.TestCase):
    def test_the_package_is_light(self):
        """What executors import must not bring the slow modules in, nor start threads."""
        code = (
            "import sys, coflux, coflux._execute\n"
            "heavy = {'re', 'typing', 'inspect', 'dataclasses', 'threading', 'functools', 'enum', 'datetime', 'asyncio', 'json'}\n"
            "print(*sorted(heavy & set(sys.modules)))"
        )
        run = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual(run.stdout.split(), [])
