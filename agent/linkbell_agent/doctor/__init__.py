"""``linkbell-agent doctor``: looks at everything the agent needs, and says of each what it found and what to do.

``findings`` says what a finding is, ``run`` runs the checks side by side within their time; each other module holds the
checks of one subject. A check returns its findings, never raises for what it was sent to look at, and changes nothing.
"""
