"""Values of packages that may be installed; where they are not, nothing of theirs can be passed."""

import tempfile
import unittest

from coflux import _codec

try:
    import pydantic
except ImportError:
    pydantic = None
try:
    import numpy
    import pandas
    import pyarrow
except ImportError:
    pandas = None


if pydantic is not None:

    class Order(pydantic.BaseModel):
        class Line(pydantic.BaseModel):
            count: int

        lines: list[Line]


class InstalledTest(unittest.TestCase):
    def both(self, value):
        with tempfile.TemporaryDirectory() as directory:
            wire = _codec.serialize(value, directory)
            return wire["references"], _codec.deserialize(wire)

    @unittest.skipIf(pydantic is None, "pydantic is not installed")
    def test_pydantic(self):
        line = Order.Line(count=2)
        references, got = self.both([Order(lines=[line]), line])
        self.assertEqual(got, [Order(lines=[line]), line])
        self.assertEqual([r[4]["model"] for r in references], [f"{__name__}.Order", f"{__name__}.Order.Line"])

        import coflux as cf

        self.assertIsInstance(Order, cf.ModelSchema)
        self.assertEqual(cf.Input[Order]("i")._decode({"type": "inline", "value": {"lines": []}}), Order(lines=[]))

    @unittest.skipIf(pandas is None, "pandas, numpy and pyarrow are not installed")
    def test_pandas(self):
        frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[5, 6])
        references, got = self.both({"frame": frame})
        pandas.testing.assert_frame_equal(got["frame"], frame)
        self.assertEqual((references[0][1], references[0][4]), ("parquet", {"type": "DataFrame"}))
        mixed = pandas.DataFrame({"a": [1, "x", [2]]})  # Parquet has no such column
        references, got = self.both(mixed)
        pandas.testing.assert_frame_equal(got, mixed)
        self.assertEqual(references[0][1], "pickle")

    @unittest.skipIf(pandas is None, "pandas, numpy and pyarrow are not installed")
    def test_numpy(self):
        array = numpy.arange(6).reshape(2, 3)
        references, got = self.both(array)
        self.assertTrue((got == array).all())
        self.assertEqual(references[0][1], "pickle")
