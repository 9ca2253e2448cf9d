"""How users' code is seen by a type checker. Not run: mypy reads it."""

from typing import Any

from typing_extensions import assert_type

import coflux as cf


@cf.task(retries=cf.Retries(3, when=ValueError), cache=60, memo="a, b")
def add(a: int, b: int = 2) -> int:
    return a + b


@cf.workflow(requires={"gpu": True, "zone": ["a", "b"]}, durable=True)
async def later(text: str) -> list[str]:
    return [text]


@cf.stub("other.module", type="workflow")
def far(x: float) -> bool: ...  # type: ignore[empty-body]


class Answer:
    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def model_validate(cls, obj: Any) -> "Answer":
        return cls()


def check(model: type[cf.ModelSchema]) -> None:
    assert_type(add(1, b=2), int)
    assert_type(add.submit(1), cf.Execution[int])
    assert_type(add.with_retries(1).with_memo(False).submit(1).result(), int)
    assert_type(add.submit(1).poll(), int | None)
    assert_type(add.submit(1).poll(5, default="x"), int | str)
    assert_type(later("x"), list[str])
    assert_type(far.submit(1.0).result(), bool)
    assert_type(cf.select([add.submit(1)]), tuple[cf.Execution[int], list[cf.Execution[int]]])
    ask = cf.Prompt("Well, {who}?", Answer).with_key("k")
    assert_type(ask(who="Joe"), Answer)
    assert_type(ask.submit(who="Joe"), cf.Input[Answer])
    assert_type([item for item in cf.progress(["a"])], list[str])
    assert_type(cf.asset({"a.txt": "b.txt"})["a.txt"].size, int)
    add("x")  # type: ignore[arg-type]
    add.submit()  # type: ignore[call-arg]
    cf.nothing  # type: ignore[attr-defined]


check(Answer)
