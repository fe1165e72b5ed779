"""Evaluation by simulated clicks: samples, runs on many processes, tables and files."""
