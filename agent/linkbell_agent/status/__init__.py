"""``linkbell-agent status``: plain words and small charts. ``source`` finds the state, ``screen`` says it."""
