"""Server-rendered pages for people. No script, nothing from elsewhere."""
