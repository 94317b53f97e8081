"""`python -m upstream_example site|api [--port N | --socket PATH]`."""

from __future__ import annotations

import argparse
import socket

from aiohttp import web

from upstream_example.api import make_api
from upstream_example.site import make_site


def main() -> None:
    """Serve one of the two applications on 127.0.0.1, a unix socket or an inherited one."""
    parser = argparse.ArgumentParser(prog="upstream_example", description=__doc__)
    parser.add_argument("application", choices=["site", "api"])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=9001)
    where.add_argument("--socket", metavar="PATH", help="a unix socket to listen on")
    where.add_argument("--fd", type=int, help="a listening socket that was inherited")
    arguments = parser.parse_args()
    app = make_site() if arguments.application == "site" else make_api()
    if arguments.socket:
        web.run_app(app, path=arguments.socket, print=None, access_log=None)
    elif arguments.fd is not None:
        with socket.socket(fileno=arguments.fd) as listening:
            web.run_app(app, sock=listening, print=None, access_log=None)
    else:
        print(f"{arguments.application} listens on http://127.0.0.1:{arguments.port}", flush=True)
        web.run_app(app, host="127.0.0.1", port=arguments.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
