"""Stands in for www.speedtest.net on ports 443 and 80: it says what lies in a folder (first argument)."""

import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    """Answers with a file of the folder, 403 without it."""

    def do_GET(self) -> None:
        """Answer."""
        file = FOLDER / ("config" if "speedtest-config" in self.path else "servers")
        said = file.read_bytes() if file.exists() else b"Forbidden"
        self.send_response(200 if file.exists() else 403)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve for ever."""
    secure = ThreadingHTTPServer(("127.0.0.1", 443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "www.pem")
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", 80), Handler).serve_forever, daemon=True).start()
    (FOLDER / "ready").touch()
    secure.serve_forever()


if __name__ == "__main__":
    main()
