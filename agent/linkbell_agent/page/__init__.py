"""The page on the school's own network, which works with the line cut: read-only, without scripts.

The agent only accepts connections (``server``, ``request``, ``guard``) and hands its history to a process that lives
for the moment of one request (``child``), which draws (``view``, ``charts``, ``overview``, ``provider``). In the agent
itself the drawing would cost more memory than there is; see ``docs/decisions/0006-page-in-a-child.md``.
"""
