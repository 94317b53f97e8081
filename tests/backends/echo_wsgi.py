"""A WSGI application that answers with its environ as JSON, served by wsgiref.

Run it: it prints its port on one line, and serves 127.0.0.1 until it is ended.
"""

from __future__ import annotations

import json
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server


def application(environ, start_response):
    """Answer with every text of `environ`: what an application behind the gate would believe."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    texts = {name: value for name, value in environ.items() if isinstance(value, str)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(texts).encode()]


class QuietHandler(WSGIRequestHandler):
    """Keeps standard error for what goes wrong."""

    def log_message(self, *_args):
        """Say nothing."""


if __name__ == "__main__":
    with make_server("127.0.0.1", 0, application, handler_class=QuietHandler) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
