"""CT volumes: reading them, windowing them, and taking pictures from them."""
