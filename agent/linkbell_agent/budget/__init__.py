"""How many bytes measuring may cost: counted per uplink and month, decided before each test, kept on disk."""
