import unittest

from coflux import _limits, task


class Limits(unittest.TestCase):
    def test_values(self):
        self.assertEqual(_limits.parse(None), {})
        self.assertEqual(_limits.parse({"memory": "2G", "cpu": 60, "files": 64}), {"memory": 2 << 30, "cpu": 60, "files": 64})
        self.assertEqual(_limits.parse({"memory": 1 << 30}), {"memory": 1 << 30})
        self.assertEqual(_limits.parse({"memory": "65536K"}), {"memory": 64 << 20})

    def test_refusals(self):
        for limits, said in (
            ({"disk": 1}, "there is no limit 'disk'"),
            ({"memory": "lots"}, "the limit memory cannot be 'lots'"),
            ({"memory": "1M"}, "at least"),
            ({"memory": 1.5}, "whole number"),
            ({"cpu": "60"}, "whole number"),
            ({"cpu": True}, "whole number"),
            ({"cpu": 0}, "at least 1"),
            ({"files": 3}, "at least 32"),
            ({"memory": "²G"}, "cannot be"),
        ):
            with self.subTest(limits):
                with self.assertRaisesRegex(ValueError, said):
                    _limits.parse(limits)
        with self.assertRaisesRegex(TypeError, "must be a dict"):
            _limits.parse("2G")

    def test_decorator(self):
        @task(limits={"cpu": 5})
        def bounded():
            return 1

        self.assertEqual(bounded.limits, {"cpu": 5})
        self.assertEqual(bounded(), 1)


if __name__ == "__main__":
    unittest.main()
