"""CT volumes: reading them, the windows of their HU, and which way is up."""
