import functools
import unittest

import coflux as cf
from coflux import _errors


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
                     lambda: cf.Execution("x", "m", "t").result(), lambda: cf.Execution("x", "m", "t").cancel()]:
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

    def test_options(self):
        cf.task(retries=0, cache=False, wait=False, memo=False, requires=None)
        for option, value in [("retries", 1), ("cache", True), ("wait", "a"), ("memo", True), ("requires", {}), ("defer", True)]:
            with self.assertRaisesRegex(NotImplementedError, f"the option '{option}' of @task is not supported yet"):
                cf.task(**{option: value})
        with self.assertRaisesRegex(TypeError, "colour"):
            cf.workflow(colour=1)
        self.assertEqual(cf.task(timeout=1.5)(lambda: 0).timeout_ms, 1500)

    def test_decorated_functions(self):
        @functools.wraps(add.fn)
        def outer(*args, **kwargs):
            return add.fn(*args, **kwargs) + 1

        target = cf.task()(outer)
        self.assertEqual((target.bind((1,), {"c": 5}), target(1), target.name), ([1, 10, 5], 112, "add"))
        with self.assertRaisesRegex(TypeError, "only functions can be tasks"):
            cf.task()(len)

    def test_unsupported_parameters(self):
        for fn in [lambda *a: 0, lambda **k: 0, lambda *, k: 0, lambda p, /: 0]:
            with self.assertRaisesRegex(Exception, "^Unsupported parameter type"):
                cf.task()(fn)

    def test_exports(self):
        names = {name for name in vars(cf) if not name.startswith("_") and type(vars(cf)[name]).__name__ != "module"}
        self.assertEqual(names | {"__version__"}, set(cf.__all__))


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
