"""A Flask application with Flask-Session and a signer: /login, /logout, who the caller is."""

from __future__ import annotations

import logging
import os
from typing import Any

from flask import Flask, Response, jsonify, request, session
from flask_session import Session
from redis import Redis
from werkzeug.serving import make_server

app = Flask(__name__)
app.secret_key = os.environ["SECRET"]
app.config.update(
    SESSION_TYPE="redis",
    SESSION_REDIS=Redis.from_url(os.environ["REDIS_URL"]),
    SESSION_USE_SIGNER=True,
)
Session(app)


@app.get("/")
def whoami() -> Response:
    return jsonify(user=session.get("_user_id"), told=request.headers.get("X-Auth-Subject"))


@app.get("/login")
def login() -> Response:
    session.clear()
    session["_user_id"] = "42"
    return whoami()


@app.get("/touch")
def touch() -> Response:
    session.modified = True
    return whoami()


@app.get("/leave")
def leave() -> Response:
    session.pop("_user_id", None)
    session["cart"] = [1, 2]
    return whoami()


@app.get("/logout")
def logout() -> Any:
    session.clear()
    return jsonify(user=None)


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app)
    print(server.server_port, flush=True)
    server.serve_forever()
