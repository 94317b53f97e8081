"""What supervisor and worker tell each other over the control channel.

| kind | from | fields |
|---|---|---|
| `boot` | supervisor | everything that a worker needs to serve: see `Boot` |
| `keys` | supervisor | `scheme`, `source`, `document`: a provider's keys, fetched once for all workers |
| `prepare` | supervisor | `number`, `boot`: compile and connect another configuration beside this one |
| `commit` | supervisor | `number`: serve what was prepared |
| `abort` | supervisor | `number`: forget it |
| `count` | supervisor | tell what you have counted |
| `drain` | supervisor | `timeout_s`: accept no more, end what runs, then exit 0 |
| `ready` | worker | it accepts connections |
| `failed` | worker | `reason`: it cannot start; it exits |
| `keys_wanted` | worker | `scheme`, `kid`: a token names a key that the worker does not have |
| `prepared` | worker | `number`, `reason`: why it cannot serve it, or `null` |
| `committed` | worker | `number`: no request is decided by the one before any more |
| `counts` | worker | `tally`: see proxy.run.tally |

What `source` says is whose keys they are: those of another provider are not taken for a scheme's.

The boot message holds the configuration's text as the supervisor read it, so that every worker,
a replacement too, runs the same one whatever has become of the file since; and what the files of
secrets held then. It holds the embedded store's password as well, and is therefore never logged and never put on a command line.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from proxy.adapters.telemetry import LogFormat
from proxy.run.channel import ChannelError, Message
from proxy.run.tally import Tally, to_json


@dataclass(frozen=True, slots=True)
class Boot:
    """The first message to a worker."""

    worker: int
    """Its number, from 0."""
    gate_id: str
    """Names the gate in Via: the same in all of its workers."""
    text: str = field(repr=False)
    """The configuration."""
    file: str
    """What the configuration is called in messages."""
    base: str
    """The directory to which the configuration's relative paths are relative."""
    sockets: list[int]
    """Descriptors of the listening sockets that the worker inherits."""
    own_addresses: list[Any]
    """Every listener of the gate, to which no upstream may lead (security.md, F7): `[address,
    port]`, or a path."""
    decision_sockets: list[int] = field(default_factory=list)
    """Descriptors of the decision listener's sockets, which it inherits likewise."""
    redirect_sockets: list[int] = field(default_factory=list)
    """Descriptors of the sockets of the listener that leads to https."""
    log_format: LogFormat = "auto"
    """What `log.format` says, or the command line instead of it."""
    store: dict[str, Any] | None = field(default=None, repr=False)
    """Address of the embedded store, with its password; `None` where it is not used."""
    keys: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    """By scheme: the last document of its provider."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """What the files of secrets held when the configuration was read, by path: each byte a character."""
    revocations: list[Any] | None = None
    """`[epoch, good_at]`: of the revocations the epoch in hexadecimal digits, and when it was last
    seen to be good (epoch seconds); `None` while the supervisor does not know."""

    def to_message(self) -> Message:
        """Return the message to send."""
        return {"kind": "boot", **asdict(self)}

    @classmethod
    def from_message(cls, message: Message | None) -> Boot:
        """Read a received message. Raises `ChannelError` for another one."""
        if message is None or message["kind"] != "boot":
            raise ChannelError("the first message is not a boot message")
        return cls.from_fields({name: told for name, told in message.items() if name != "kind"})

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Boot:
        """Read what a message tells of a configuration. Raises `ChannelError`."""
        try:
            return cls(**fields)
        except TypeError:
            raise ChannelError("the boot message is of another version") from None


def keys(scheme: str, source: str, document: dict[str, Any]) -> Message:
    """Return the message that brings a provider's keys to a worker."""
    return {"kind": "keys", "scheme": scheme, "source": source, "document": document}


def prepare(number: int, boot: Boot) -> Message:
    """Return the message that asks a worker to make another configuration ready."""
    return {"kind": "prepare", "number": number, "boot": asdict(boot)}


def commit(number: int) -> Message:
    """Return the message that lets a worker serve what it has prepared."""
    return {"kind": "commit", "number": number}


def abort(number: int) -> Message:
    """Return the message that lets a worker forget what it has prepared."""
    return {"kind": "abort", "number": number}


def prepared(number: int, reason: str | None) -> Message:
    """Return the message of a worker that has made a configuration ready, or cannot."""
    return {"kind": "prepared", "number": number, "reason": reason}


def committed(number: int) -> Message:
    """Return the message of a worker that serves another configuration."""
    return {"kind": "committed", "number": number}


def count() -> Message:
    """Return the message that asks a worker for its counts."""
    return {"kind": "count"}


def drain(timeout_s: float) -> Message:
    """Return the message that ends a worker; a second one shortens the time."""
    return {"kind": "drain", "timeout_s": timeout_s}


def ready() -> Message:
    """Return the message of a worker that serves."""
    return {"kind": "ready"}


def failed(reason: str) -> Message:
    """Return the message of a worker that cannot start."""
    return {"kind": "failed", "reason": reason}


def keys_wanted(scheme: str, kid: str) -> Message:
    """Return the message of a worker that has seen an unknown `kid`."""
    return {"kind": "keys_wanted", "scheme": scheme, "kid": kid}


def counts(tally: Tally) -> Message:
    """Return the message that answers `count`."""
    return {"kind": "counts", "tally": to_json(tally)}
