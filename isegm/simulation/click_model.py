"""How a simulated user's clicks differ from the published ones, as real people's do."""

import math
from dataclasses import dataclass

from isegm.errors import SettingError
from isegm.wording import names

CENTRE = "centre"
"""The published simulator: every click is in the middle of the widest error."""

CLICK_MODELS = "centre, or any of random, jitter=PIXELS and wrong=PROBABILITY, with commas between them"


@dataclass(frozen=True, kw_only=True)
class ClickModel:
    """The parts of a click that are left to chance; by default none, as in the published simulator."""

    random: bool = False
    """Aim at any pixel of the error in whose middle the published simulator clicks."""
    jitter: float = 0.0
    """Standard deviation, in pixels of the image, of a slip along the rows and of one along the columns."""
    wrong: float = 0.0
    """Probability of a click of the wrong polarity, from the second click on."""

    @property
    def is_published(self) -> bool:
        """Whether nothing is left to chance."""
        return self == ClickModel()

    def __str__(self) -> str:
        """The model as :func:`parse_click_model` reads it, always in the same spelling."""
        numbers = {"jitter": self.jitter, "wrong": self.wrong}
        parts = ["random"] if self.random else []
        parts += [f"{name}={number!r}".removesuffix(".0") for name, number in numbers.items() if number]
        return ",".join(parts) or CENTRE


def parse_click_model(text: str) -> ClickModel:
    """The click model that ``text`` means: ``centre``, or ``random,jitter=3,wrong=0.05`` or a part of it.

    Raises:
        InputError: The text is neither, names a part twice, or has a number out of its range.
    """
    if text.strip() == CENTRE:
        return ClickModel()
    parts: dict[str, str] = {}
    for part in names(text):
        name, _, value = (word.strip() for word in part.partition("="))
        if name in parts:
            raise SettingError("click_model", f"{name} is given twice; keep one")
        if name == CENTRE:
            raise SettingError(
                "click_model", f"{CENTRE} leaves nothing to chance; give it alone or leave it out"
            )
        if name not in ("random", "jitter", "wrong") or (name == "random" and part != name):
            raise SettingError("click_model", f"must be {CLICK_MODELS}, not {part!a}")
        parts[name] = value
    if not parts:
        raise SettingError("click_model", f"must be {CLICK_MODELS}, not {text!a}")
    return ClickModel(
        random="random" in parts,
        jitter=_number(parts, "jitter", 1e6, "above 0 and at most 1000000 pixels, like jitter=3"),
        wrong=_number(parts, "wrong", 1.0, "above 0 and at most 1, like wrong=0.05"),
    )


def _number(parts: dict[str, str], name: str, most: float, allowed: str) -> float:
    """A part's number; 0 where the part is not given."""
    if name not in parts:
        return 0.0
    try:
        number = float(parts[name])
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise SettingError("click_model", f"{name} must be {allowed}, not {parts[name]!a}")
    return number
