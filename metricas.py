"""``isegm metrics`` by its published name, without installation."""

import sys

from isegm.commands.metrics import main

if __name__ == "__main__":
    sys.exit(main())
