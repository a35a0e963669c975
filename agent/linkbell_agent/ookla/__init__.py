"""The ``ookla`` engine: speedtest-cli in a process of its own (``docs/measurement.md``).

``child``, ``tester`` and ``sockets`` run in that process and load nothing but the standard library and speedtest-cli:
the wire's models alone would make it twice as large. ``process`` and ``reports`` run in the agent.
"""
