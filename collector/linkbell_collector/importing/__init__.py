"""Schools from a file: read, compared with what is known, shown, and only then taken over."""
