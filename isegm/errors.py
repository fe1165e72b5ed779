"""The one exception for what a user can mend."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is a single line that names the file (or argument) and says what would mend it.
    Command-line tools print it on stderr and leave with exit status 2, without a traceback.
    """
