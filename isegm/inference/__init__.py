"""Segmenting one image by clicks."""
