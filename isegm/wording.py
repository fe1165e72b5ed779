"""How numbers and lists are written in messages and read from arguments, and when names are the same."""

import re
import unicodedata


def counted(number: int, noun: str) -> str:
    """A number of things in words: ``1 volume``, ``3 volumes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def composed(name: str) -> str:
    """A name with its characters composed; archives made on a Mac have decomposed ones."""
    return unicodedata.normalize("NFC", name)


def names(text: str) -> list[str]:
    """Split a comma-separated list; empty parts count for nothing."""
    return [part.strip() for part in text.split(",") if part.strip()]


def with_options(message: str) -> str:
    """A message of the library's, which has settings in backticks, with options for them: ``--force``."""
    return re.sub("`([a-z_]+)`", lambda setting: f"--{setting[1].replace('_', '-')}", message)
