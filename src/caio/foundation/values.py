"""Values that every call makes, at the price of what can be changed.

A frozen dataclass sets each of its fields by way of ``object.__setattr__``, some three times as dear as setting
it: for the values that a call makes that was a twentieth of its time. A ``value`` is a frozen dataclass for the
type checker, which refuses whoever sets a field of one, and is not held to it while it runs. It is compared and
hashed by its fields, as a frozen one.

Law (has a test of the same name): a_value_is_a_frozen_dataclass_to_all_but_setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool) -> Any:
        """``dataclass`` of the same arguments, both of which are true of every value."""
        assert frozen  # noqa: S101 - it is what the type checker reads
        return dataclass(slots=slots, unsafe_hash=True)


__all__ = ["value"]
