"""The first stages: one module for each family of networks that runs once per image."""
