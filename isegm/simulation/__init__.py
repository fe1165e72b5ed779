"""Simulated users: where they would click next."""
