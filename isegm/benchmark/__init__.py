"""Benchmarks: what clicks cost, and how well faster ways agree with the published one.

Each subcommand of ``scripts/benchmark.py`` is a module here with two functions::

    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(args: argparse.Namespace) -> dict[str, Any]: ...

``run`` prints a table for people and returns what it measured, unrounded, as JSON has it.
"""
