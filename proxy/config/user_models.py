"""The file of `login.users`: who may sign in, with argon2id hashes of their passwords.

It is read as strictly as the configuration, by the same reader; nothing in it is taken from the
environment. What never belongs here: checking a password.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Final

from pydantic import AfterValidator, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from proxy.config.client_models import CLIENT_SUBJECT
from proxy.config.document import MappingNode, Path, Position, read_document
from proxy.config.messages import KEY_MARK, describe, did_you_mean, show_path
from proxy.config.strict import Section
from proxy.config.tree import Tree
from proxy.config.unicode_forms import normalized
from proxy.config.values import Flag, Text, matching, unique
from proxy.errors import ConfigError, ConfigErrors

MAX_USERS_BYTES: Final = 1024 * 1024
"""Of the file: some 5,000 people, which take seconds to read; more of them have a provider."""
MAX_NAME: Final = 256
"""Characters of a user's name."""
_MAX_APART: Final = 4 * MAX_NAME
"""The same when its letters are taken apart: three of Unicode, or four, are one composed."""
MAX_MEMORY_KIB: Final = 1024 * 1024
MAX_PASSES: Final = 32
MAX_LANES: Final = 16
"""Bounds of a hash's cost: a file must not be able to stop the gate."""

_HASH: Final = re.compile(
    r"\$argon2id\$v=19\$m=(?P<m>[1-9][0-9]{0,7}),t=(?P<t>[1-9][0-9]{0,2}),p=(?P<p>[1-9][0-9]{0,2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,86})\$[A-Za-z0-9+/]{22,172}"
)
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """An argon2id hash in its usual form (PHC string format), and what it costs."""

    text: str
    memory_kib: int
    passes: int
    lanes: int
    salt: str
    """Base64 without padding; one password keeps its salt when it is hashed anew."""

    def __repr__(self) -> str:
        return "PasswordHash(***)"

    @property
    def cost(self) -> tuple[int, int, int]:
        """Memory in KiB, passes, lanes."""
        return self.memory_kib, self.passes, self.lanes


def parse_hash(value: object) -> PasswordHash:
    """Return the hash that `value` is. Raises `ValueError` without a word of it."""
    if isinstance(value, PasswordHash):
        return value
    found = _HASH.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be an argon2id hash, as `latchgate user passwd` writes it")
    memory, passes, lanes = int(found["m"]), int(found["t"]), int(found["p"])
    if memory > MAX_MEMORY_KIB or passes > MAX_PASSES or lanes > MAX_LANES or memory < 8 * lanes:
        raise ValueError("costs more than the gate would spend on a guess, or less than argon2 can")
    return PasswordHash(found[0], memory, passes, lanes, found["salt"])


def normal_name(name: str) -> str:
    """Return a user's name as it is compared: composed (Unicode NFC), without spaces around it.

    One that is longer than any name is nobody's, and is not looked at so closely.
    """
    return (normalized("NFC", name) if len(name) <= _MAX_APART else name).strip()


def _check_name(name: str) -> str:
    if not name or name != normal_name(name) or len(name) > MAX_NAME:
        raise ValueError(
            f"must be a name of at most {MAX_NAME} characters, composed (NFC), without spaces around it"
        )
    return name


UserName = Annotated[Text, AfterValidator(_check_name)]
HashValue = Annotated[PasswordHash, PlainValidator(parse_hash), WithJsonSchema({"type": "string"})]
Word = Annotated[
    str,
    PlainValidator(matching(r"\S{1,256}", "must be one word of at most 256 characters")),
    WithJsonSchema({"type": "string", "pattern": r"^\S{1,256}$"}),
]


class UserConfig(Section):
    """One person."""

    password: HashValue
    """The argon2id hash of their password."""
    subject: Text | None = None
    """Their identifier, which never changes; default the name."""
    email: Text | None = None
    """Their e-mail address."""
    name: Text | None = None
    """The name to show."""
    roles: Annotated[list[Word], AfterValidator(unique)] = []
    """Roles."""
    scopes: Annotated[list[Word], AfterValidator(unique)] = []
    """Scopes."""
    disabled: Flag = False
    """true: they cannot sign in, and their sessions are over."""


class UsersFile(Section):
    """The whole file."""

    users: dict[UserName, UserConfig] = Field(default={})
    """The people, by the name that they sign in with."""


def read_users(path: FilePath) -> UsersFile:
    """Return what the file at `path` says.

    Raises `FileNotFoundError` where there is none yet, and `ConfigErrors` with every mistake, also
    where it cannot be read or everybody may write to it.
    """
    return parse_users(read_raw(path), str(path))


def read_raw(path: FilePath) -> bytes:
    """Return the file's bytes; raises as `read_users` does."""

    def wrong(message: str) -> ConfigErrors:
        return ConfigErrors([ConfigError(str(path), 1, 1, show_path(()), message)])

    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise wrong("is not a regular file")
            if status.st_mode & stat.S_IWOTH:
                raise wrong("everybody may write to it: chmod o-w, then look who is in it")
            raw = file.read(MAX_USERS_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise wrong(f"the file cannot be read: {error.strerror}") from None
    if len(raw) > MAX_USERS_BYTES:
        raise wrong("the file is larger than 1 MiB")
    return raw


def parse_users(raw: bytes, file: str) -> UsersFile:
    """Return what `raw` says. Raises `ConfigErrors`.

    No message repeats a value, nor a key that may be one.
    """
    found = read_document(raw, {})
    errors = [
        ConfigError(file, *mistake.position, _place(mistake.path), mistake.message)
        for mistake in found.mistakes
    ]
    if not errors and isinstance(found.root, MappingNode):
        tree = Tree(found.root)
        try:
            users = UsersFile.model_validate(tree.plain(), by_alias=True, by_name=False)
        except ValidationError as error:
            errors = [_mistake(file, tree, item) for item in error.errors()]
        else:
            errors = [
                *_shared_subjects(file, tree, users),
                *_clients_subjects(file, tree, users),
            ]
            if not errors:
                return users
    elif not errors:
        errors = [ConfigError(file, 1, 1, show_path(()), "must be a mapping: `users:`")]
    raise ConfigErrors(errors)


def _mistake(file: str, tree: Tree, item: ErrorDetails) -> ConfigError:
    location = item["loc"]
    is_key = location[-1:] == (KEY_MARK,)
    path = location[:-1] if is_key else location
    is_unknown = item["type"] == "extra_forbidden"
    at: Position = tree.source_map.position(path, is_key=is_key or is_unknown)
    message = describe(item)
    if is_unknown:
        fields = UserConfig.model_fields if len(path) > 1 else UsersFile.model_fields
        message = f"unknown key{did_you_mean(str(path[-1]), fields)}"
    return ConfigError(file, at.line, at.column, _place(path), message)


def _place(path: Path) -> str:
    """Return where a mistake is, without the keys that nobody knows and all below them.

    A hash without quotes in `{…}` falls apart at its commas, and its salt and digest become a key.
    """
    known = 0
    while known < len(path) and _is_harmless(path[: known + 1]):
        known += 1
    if known == len(path):
        return show_path(path)
    return f"{show_path(path[:known])}.…" if known else "…"


def _is_harmless(path: Path) -> bool:
    key = path[-1]
    if isinstance(key, int):
        return True
    if len(path) == 2:
        return "$" not in key  # a name; in the place of one a hash may stand, too
    return len(path) < 4 and key in (UsersFile if len(path) == 1 else UserConfig).model_fields


def _clients_subjects(file: str, tree: Tree, users: UsersFile) -> Iterator[ConfigError]:
    """Find people who would be taken for a client (`clients:`): both are known by their subject."""
    for name, user in users.users.items():
        if (user.subject or name).startswith(CLIENT_SUBJECT):
            path = ("users", name)
            at = tree.source_map.position(path, is_key=True)
            message = (
                f"no person's subject begins with {CLIENT_SUBJECT}: that is how clients are called"
            )
            yield ConfigError(file, at.line, at.column, _place(path), message)


def _shared_subjects(file: str, tree: Tree, users: UsersFile) -> Iterator[ConfigError]:
    """Find two names of one person: ending one's sessions would end the other's."""
    taken: dict[str, str] = {}
    for name, user in users.users.items():
        first = taken.setdefault(user.subject or name, name)
        if first != name:
            path = ("users", name)
            at = tree.source_map.position(path, is_key=True)
            message = "another user has this subject already"
            yield ConfigError(file, at.line, at.column, _place(path), message)
