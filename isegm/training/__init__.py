"""Training: losses, sources of data, simulated clicks, the trainer and its recipes."""
