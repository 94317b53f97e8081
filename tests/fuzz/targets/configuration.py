"""Configuration files: loaded and compiled, or `ConfigErrors` with places in the file.

Input: the file. Its directory is one that does not exist, the environment has one secret.
"""

from __future__ import annotations

from pathlib import Path

from proxy.config.loader import LoadedConfig, parse_config
from proxy.errors import ConfigErrors
from proxy.services.compile_checks import compile_problems

HIDDEN = "correct-horse-battery-staple"
ENVIRONMENT = {"SECRET": HIDDEN, "PORT": "8080"}
NOWHERE = Path("/nonexistent/latchgate")

WORDS = (
    *(b"server:", b"upstreams:", b"schemes:", b"routes:", b"store:", b"tokens:", b"secrets:"),
    *(b"health:", b"log:", b"match:", b"path:", b"auth:", b"require:", b"identity:", b"keys:"),
    *(b"servers:", b"type: jwt", b"type: session", b"format: native", b"local: true", b"from:"),
    *(b"  ", b"- ", b": ", b"\n", b"{", b"}", b"[", b"]", b",", b"#", b"&a ", b"*a", b"!!python/"),
    *(b"<<: ", b"|\n", b">\n", b"'", b'"', b"---\n", b"...\n", b"%YAML 1.1\n", b"? ", b"\t"),
    *(
        b"${SECRET}",
        b"${PORT}",
        b"${NOT:-x}",
        b"${",
        b"$$",
        b"null",
        b"~",
        b"true",
        b"1e3",
        b".inf",
    ),
    *(b"0o17", b"0x1f", b"9" * 30, b"30s", b"10MiB", b"-1", b"\xff", b"\xef\xbb\xbf", b"\x00"),
    *(b"\xe2\x80\xae", b"any", b"none", b"/**", b"/{x}/", b"http://127.0.0.1:1", b"unix:/x"),
    *(b"{file: x}", b"{cookie: sid}", b"{query: t}", b"0.0.0.0/0", b"*.example.com", b"[" * 40),
)


def one_input(data: bytes) -> None:
    """Load one file."""
    try:
        loaded = parse_config(
            data, file="gate.yaml", base=NOWHERE, checks=[compile_problems], environment=ENVIRONMENT
        )
    except ConfigErrors as found:
        mistakes = found.errors
        assert mistakes
    else:
        assert isinstance(loaded, LoadedConfig)
        mistakes = loaded.warnings
    lines = data.count(b"\n") + data.count(b"\r") + 2
    for mistake in mistakes:
        assert 1 <= mistake.line <= lines
        assert mistake.column >= 1
        assert mistake.message
        assert HIDDEN not in str(mistake)
