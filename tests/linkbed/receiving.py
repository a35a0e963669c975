"""Counts what really arrives: ``python -m tests.linkbed.receiving HOST PORT SKIP_S SECONDS``.

Reads one TCP connection to its far end's flood, leaves out the first ``SKIP_S``, and prints when it began and ended to
count (CLOCK_MONOTONIC), and the payload in between.
"""

import socket
import sys
import time


def main() -> None:
    """Connect, read, print."""
    host, port, skip_s, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    with socket.create_connection((host, port), timeout=30) as sock:
        begin_s = time.monotonic() + skip_s
        while time.monotonic() < begin_s:
            sock.recv(1 << 16)
        began_s, read = time.monotonic(), 0
        while (now_s := time.monotonic()) < began_s + seconds:
            read += len(sock.recv(1 << 16))
    print(began_s, now_s, read)


if __name__ == "__main__":
    main()
