"""Masks of two folders paired, read, measured and summarised."""
