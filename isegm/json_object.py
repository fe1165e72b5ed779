"""Objects of JSON files that anyone may have written: every value is checked as it is taken."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isegm.errors import InputError

_SHOWN = 40
"""Characters of a wrong value that a message repeats at most."""


@dataclass(frozen=True)
class JsonObject:
    """An object of a JSON file.

    Attributes:
        where: The file and the place in it, for messages.
        values: What the object holds.
        fix: What to do about a bad value, for messages.
    """

    where: str
    values: Mapping[str, Any]
    fix: str

    def text(self, key: str, default: str | None = None) -> str:
        """A text that can be encoded.

        Raises:
            InputError: It is missing without a default, no text, or holds half of a surrogate pair.
        """
        value = self._value(key, default)
        if not isinstance(value, str) or not _is_encodable(value):
            raise self.wrong(key, "a text")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from ``low`` to ``high``.

        Raises:
            InputError: It is missing without a default, or something else.
        """
        value = self._value(key, default)
        if not _is_integer(value) or not low <= value <= high:
            raise self.wrong(key, f"a whole number, {low} to {high}")
        return int(value)

    def number(self, key: str, default: float | None = None, high: float = math.inf) -> float:
        """A finite number from 0 to ``high``.

        Raises:
            InputError: It is missing without a default, or something else.
        """
        value = self._value(key, default)
        if not _is_number(value) or not 0 <= value <= high:
            raise self.wrong(key, "a number that is not negative" if high == math.inf else f"0 to {high:g}")
        return float(value)

    def number_or_nan(self, key: str, high: float = math.inf) -> float:
        """As :meth:`number`, but null means undefined: NaN."""
        return math.nan if key in self.values and self.values[key] is None else self.number(key, high=high)

    def numbers(self, key: str, high: float = math.inf) -> tuple[float, ...]:
        """A list of finite numbers from 0 to ``high``.

        Raises:
            InputError: It is missing, or something else.
        """
        value = self._value(key, None)
        if not isinstance(value, list) or not all(_is_number(item) and 0 <= item <= high for item in value):
            raise self.wrong(
                key, "a list of numbers that are not negative" + f", {high:g} at most" * (high < math.inf)
            )
        return tuple(float(item) for item in value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; none where the key is missing.

        Raises:
            InputError: It is something else.
        """
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(
            isinstance(item, str) and _is_encodable(item) for item in value
        ):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def object(self, key: str) -> "JsonObject":
        """An object within this one; an empty one where the key is missing or null.

        Raises:
            InputError: It is something else.
        """
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return JsonObject(f"{self.where}: {key}", value or {}, self.fix)

    def objects(self, key: str) -> tuple["JsonObject", ...]:
        """A list of objects; none where the key is missing.

        Raises:
            InputError: It is something else.
        """
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, "a list of objects")
        return tuple(
            JsonObject(f"{self.where}: {key} {number}", item, self.fix)
            for number, item in enumerate(value, start=1)
        )

    def plain(self) -> dict[str, str]:
        """The values that fit on one line, by key: texts, numbers, yes and no; nothing nested.

        Raises:
            InputError: A key or text cannot be encoded.
        """
        shown = {}
        for key, value in self.values.items():
            if value is not None and not isinstance(value, str | bool | int | float):
                continue
            text = _plain(value)
            if not _is_encodable(key) or not _is_encodable(text):
                raise InputError(f"{self.where}: holds half of a surrogate pair; {self.fix}")
            shown[key] = text
        return shown

    def wrong(self, key: str, wanted: str) -> InputError:
        """The complaint that a value is not what was wanted."""
        if key not in self.values:
            return InputError(f"{self.where}: has no {key!a}; {self.fix}")
        return InputError(f"{self.where}: {key} must be {wanted}, not {_short(self.values[key])}; {self.fix}")

    def _value(self, key: str, default: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
        return default if default is not None and key not in self.values else self.values.get(key)


def read_json_object(where: str, text: bytes, fix: str) -> JsonObject:
    """Read an object from JSON.

    Args:
        where: The file and the place in it, for messages.
        text: UTF-8.
        fix: What to do about a bad value, for messages.

    Raises:
        InputError: It is no JSON, or something other than an object.
    """
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise InputError(f"{where}: nested too deeply; {fix}") from None
    except ValueError:  # no UTF-8, no JSON, a number of thousands of digits
        raise InputError(f"{where}: not JSON, or cut short; {fix}") from None
    if not isinstance(value, dict):
        raise InputError(f"{where}: must be an object, not {_short(value)}; {fix}")
    return JsonObject(where, value, fix)


def _refuse(constant: str) -> float:
    """JSON has neither NaN nor infinity, though Python writes and reads them."""
    raise ValueError(constant)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond what a float can be
        return False


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: str | float | bool | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
