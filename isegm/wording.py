"""How numbers and lists are written in messages and read from arguments."""


def counted(number: int, noun: str) -> str:
    """A number of things in words: ``1 volume``, ``3 volumes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def names(text: str) -> list[str]:
    """Split a comma-separated list; empty parts count for nothing."""
    return [part.strip() for part in text.split(",") if part.strip()]
