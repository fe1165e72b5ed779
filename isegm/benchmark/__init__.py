"""Benchmarks: what clicks cost, and how well faster ways agree with the published one.

Each module that ``isegm benchmark`` names has ``run(args: argparse.Namespace) -> dict[str, Any]``, which
prints a table for people and returns what it measured, unrounded, as JSON has it.
"""
