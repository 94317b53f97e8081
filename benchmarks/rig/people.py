"""Many credentials at once, for load: tokens of one key, and sessions written as any program may."""

from __future__ import annotations

import json
import socket
import time
import uuid
from hashlib import sha256
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from hiredis import pack_command

from benchmarks.rig.credentials import ISSUER, PREFIX

LIFE_S = 7200
BATCH = 5_000
LUA_PREFIX = "lua:"


def pem_of(private_key, directory):
    """Write the public key as PEM, for who reads no JWKS; return the file's path."""
    file = Path(directory) / "key.pem"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    file.write_bytes(private_key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return str(file)


def tokens(private_key, count):
    """Return so many RS256 tokens as header lines."""
    now = int(time.time())
    return [
        "Authorization: Bearer "
        + jwt.encode(_claims(number, now), private_key, "RS256", headers={"kid": "k1"})
        for number in range(count)
    ]


def _claims(number, now):
    return {
        "iss": ISSUER, "aud": "app", "sub": f"user-{number}", "jti": uuid.uuid4().hex,
        "email": f"user-{number}@example.com", "roles": ["customer"], "iat": now, "exp": now + LIFE_S,
    }  # fmt: skip


def sessions(port, count, *, first=0):
    """Write so many sessions into the store, for the gate and for the script; return header lines."""
    now = int(time.time())
    with socket.create_connection(("127.0.0.1", port)) as sock:
        answers = sock.makefile("rb")
        for start in range(first, first + count, BATCH):
            numbers = range(start, min(first + count, start + BATCH))
            sock.sendall(b"".join(_writes(number, now) for number in numbers))
            for _ in range(2 * len(numbers)):
                if answers.readline() != b"+OK\r\n":
                    raise RuntimeError("the store does not take a session")
    return [f"Cookie: sid={cookie(number)}" for number in range(first, first + count)]


def cookie(number):
    """Return the cookie of one session: for a benchmark it need not be random."""
    return f"{number:043d}"


def _writes(number, now):
    value = cookie(number)
    record = {
        "v": 1, "sub": f"user-{number}", "created_at": now, "expires_at": now + LIFE_S,
        "auth_time": now, "amr": ["pwd"], "ver": 1, "email": f"user-{number}@example.com",
        "name": "Ada Lovelace", "roles": ["customer"], "scopes": ["orders:read"],
    }  # fmt: skip
    told = json.dumps(record, separators=(",", ":"))
    digest = sha256(value.encode()).hexdigest()
    keys = (f"{PREFIX}session:{{{digest}}}", LUA_PREFIX + value)
    return b"".join(pack_command(("SET", key, told, "EX", LIFE_S)) for key in keys)
