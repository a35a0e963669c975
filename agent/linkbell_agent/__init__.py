"""The agent: measures a school's line, keeps every result, reports to a collector."""
