"""Values that are frozen for the type checker alone."""

from dataclasses import dataclass, fields, replace

import pytest

from caio.foundation.values import value


@value(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    y: int = 0


def test_a_value_is_a_frozen_dataclass_to_all_but_setting() -> None:
    assert Point(1, 2) == Point(y=2, x=1) != Point(1, 3)
    assert len({Point(1, 2), Point(1, 2), Point(1, 3)}) == 2
    assert hash(Point(1, 2)) == hash(Frozen(1, 2))
    assert replace(Point(1), y=5) == Point(1, 5)
    assert [each.name for each in fields(Point)] == [each.name for each in fields(Frozen)] == list(Point.__slots__)
    assert repr(Point(1)) == "Point(x=1, y=0)"
    with pytest.raises(ValueError, match="negative"):
        Point(-1)
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]
