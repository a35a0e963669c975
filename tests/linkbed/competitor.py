"""Somebody else on the line: TCP connections that carry zeros one way as fast as they can, until their end is ended.

``python -m tests.linkbed.competitor world|school HOST PORT download|upload FLOWS``; the world listens, the school
connects. Each end prints one line when it is ready.
"""

import socket
import struct
import sys
import threading

from linkbell_wire.words import Direction

CHUNK_BYTES = 1 << 16


def carry(sock: socket.socket, is_sender: bool, begun: threading.Semaphore) -> None:
    """Send for ever, or read for ever."""
    # Gone at once when the process ends: what is left in its buffer must not stay on a slow line for a minute.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    chunk = bytearray(CHUNK_BYTES)
    try:
        while sock.send(chunk) if is_sender else sock.recv_into(chunk):
            begun.release()
    except ConnectionError:
        return  # the other end was ended first


def main() -> None:
    """Be one end."""
    side, host, port, direction, flows = sys.argv[1:]
    is_world = side == "world"
    is_sender = is_world == (direction == Direction.DOWNLOAD)
    begun = threading.Semaphore(0)
    if is_world:
        with socket.create_server((host, int(port))) as server:
            print("listening", flush=True)
            socks = [server.accept()[0] for _ in range(int(flows))]
    else:
        socks = [socket.create_connection((host, int(port)), timeout=30) for _ in range(int(flows))]
    threads = []
    for sock in socks:
        sock.settimeout(None)
        threads.append(threading.Thread(target=carry, args=(sock, is_sender, begun)))
        threads[-1].start()
    if not is_world:
        begun.acquire()
        print("under way", flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
