"""Where records are kept. ``interface`` is what the rest of the collector knows of it."""
