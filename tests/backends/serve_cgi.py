"""Runs one CGI script for every request (RFC 3875), folding names as the widest server does.

The standard asks for `-` to become `_`; PHP and older Apaches do that to every character that is
neither letter nor digit, and so does this. A header that occurs twice is joined by `, `.

Run it with the script's path: it prints its port on one line, and serves 127.0.0.1 until it is
ended.
"""

from __future__ import annotations

import re
import socketserver
import subprocess
import sys

_WITHOUT_PREFIX = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class CgiHandler(socketserver.StreamRequestHandler):
    """One request, one process."""

    script: str

    def handle(self):
        """Read a request, run the script with its meta-variables, send what it says."""
        method, target, version = self.rfile.readline().decode("latin-1").split()
        path, _, query = target.partition("?")
        environ = {
            "GATEWAY_INTERFACE": "CGI/1.1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REMOTE_ADDR": self.client_address[0],
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "SERVER_PROTOCOL": version,
        }
        self._read_headers(environ)
        body = self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0))
        done = subprocess.run(
            [sys.executable, "-I", self.script],
            env=environ,
            input=body,
            capture_output=True,
            check=True,
        )
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + done.stdout)

    def _read_headers(self, environ):
        while (line := self.rfile.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            variable = re.sub(r"[^A-Za-z0-9]", "_", name).upper()
            if variable not in _WITHOUT_PREFIX:
                variable = "HTTP_" + variable
            value = value.strip(" \t")
            if variable in environ:
                value = f"{environ[variable]}, {value}"
            environ[variable] = value


if __name__ == "__main__":
    CgiHandler.script = sys.argv[1]
    with socketserver.TCPServer(("127.0.0.1", 0), CgiHandler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()
