"""``isegm evaluate-volumes`` without installation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that it runs without being installed

from isegm.commands.evaluate_volumes import main

if __name__ == "__main__":
    sys.exit(main())
