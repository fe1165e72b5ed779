"""The first stages: one file for each kind of network that runs once an image."""
