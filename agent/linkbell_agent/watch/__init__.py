"""What a speed leaves out: round trips beside the test, other people's traffic, and whether the box kept up.

Seen from beside: nothing here touches the test itself, and a test is worth the same if nothing of it could be seen.
"""
