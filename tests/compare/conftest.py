"""Property tests without a deadline."""

from hypothesis import settings

# The first example of a test pays for the imports and would miss the deadline.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
