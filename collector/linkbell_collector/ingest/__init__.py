"""From the body of a request to records on disk and in live state."""
