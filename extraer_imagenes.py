"""``isegm extract`` by its published name, without installation."""

import sys

from isegm.commands.extract import main

if __name__ == "__main__":
    sys.exit(main())
