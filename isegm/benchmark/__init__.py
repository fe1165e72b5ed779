"""Benchmarks: what clicks cost, and how well faster ways agree with the published one.

Each module measures one thing: one function returns unrounded figures as JSON has them, another lays them out
as a table for people.
"""
