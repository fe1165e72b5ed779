"""The command ``isegm``: one module a subcommand, with its parser and one call of the rooms below.

A module is imported only when its subcommand is asked for, and imports what is heavy only once its arguments
are read, so that help and tab completion come at once.
"""

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

COMMANDS = {
    "evaluate": "Evaluate click-segmentation networks by simulated clicks: NoC, IoU by click, masks.",
    "evaluate-volumes": "Evaluate networks on whole volumes by simulated clicks, and what slices would cost.",
    "annotate": "Click in a browser: pictures and volumes in, masks out.",
    "report": "Show what an evaluation found as one page, or compare several.",
    "metrics": "Measure predicted masks against their truth, a whole folder at once.",
    "extract": "Extract pictures and masks of an organ from CT volumes and their labels.",
    "window": "Window CT volumes to 8 bits, geometry kept.",
    "train": "Train or fine-tune a click-segmentation network.",
    "export": "Export a network to ONNX.",
    "shrink": "Write a checkpoint as float16: half the size, for passing on.",
    "phantoms": "Write generated patients as CT volumes with labels, in the Decathlon's layout.",
    "benchmark": "Measure speed, cost and agreement; the last line printed is everything measured, as JSON.",
    "demo": "Show the whole job on this machine, from CT volumes to masks, figures and pictures.",
}
"""What each subcommand is for, in the order of the help."""


def module_of(name: str) -> ModuleType:
    """Import the module of a subcommand."""
    return importlib.import_module(f"isegm.commands.{name.replace('-', '_')}")


def run(name: str, words: Sequence[str]) -> int:
    """Do a subcommand under the name ``isegm <name>``; return its exit status."""
    before = sys.argv
    sys.argv = [f"isegm {name}", *words]  # processes that it starts get it, too
    try:
        status: int = module_of(name).main(words)
    finally:
        sys.argv = before
    return status
