"""`python -m upstream_example site|api [--host H] [--port N | --socket PATH]`."""

from __future__ import annotations

import argparse
import socket

from aiohttp import web

from upstream_example.api import make_api
from upstream_example.site import make_site


def main() -> None:
    """Serve one of the two applications on TCP, a unix socket or an inherited one."""
    parser = argparse.ArgumentParser(prog="upstream_example", description=__doc__)
    parser.add_argument("application", choices=["site", "api"])
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a container of its own")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=9001)
    where.add_argument("--socket", metavar="PATH", help="a unix socket to listen on")
    where.add_argument("--fd", type=int, help="a listening socket that was inherited")
    arguments = parser.parse_args()
    host, port = arguments.host, arguments.port
    app = make_site() if arguments.application == "site" else make_api()
    if arguments.socket:
        web.run_app(app, path=arguments.socket, print=None, access_log=None)
    elif arguments.fd is not None:
        with socket.socket(fileno=arguments.fd) as listening:
            web.run_app(app, sock=listening, print=None, access_log=None)
    else:
        print(f"{arguments.application} listens on http://{host}:{port}", flush=True)
        web.run_app(app, host=host, port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
