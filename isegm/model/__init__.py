"""The EMC-Click networks: a heavy first stage that runs once and a light correction head for every click."""

PUBLISHED = ("hr18s", "hr18", "hr32", "segb0", "segb3")
"""The presets of the original, whose files it released."""
