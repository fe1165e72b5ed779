"""Volumes to slices and to windowed volumes, one file after the other or many at once."""
