"""A request to one of the gate's own endpoints, as the endpoint sees it.

Its body is whole and small; forms and JSON are read strictly: a name that occurs twice means two
things, and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from proxy.core.cookies import parse_cookies
from proxy.core.fields import read_fields
from proxy.core.hosts import parse_host
from proxy.core.navigation import is_by_script, navigation
from proxy.core.own_cookies import is_plain_local
from proxy.core.paths import parse_target
from proxy.core.strict_json import BadJson, loads_object
from proxy.edge.portal.reply import Refused
from proxy.model import ClientInfo, RequestView
from proxy.services.schemes.port import Carried

MAX_BODY_BYTES: Final = 64 * 1024
"""Of a request to the gate itself; nothing that people type comes near it."""
_FORM: Final = b"application/x-www-form-urlencoded"
_JSON: Final = b"application/json"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, checked by the gate: host, path, method, and that no other site made it."""

    view: RequestView
    client: ClientInfo
    request_id: str
    segments: tuple[str, ...]
    """The decoded path."""
    query: bytes | None
    body: bytes
    now: float
    """Epoch seconds."""

    @property
    def host(self) -> str | None:
        """The host that the request's route was chosen by, without port; `None` where it has none."""
        value = self.view.first(b"host")
        return None if value is None else parse_host(value).name

    @property
    def wants_page(self) -> bool:
        """True where a person looks at the answer."""
        return navigation(self.view) is not None

    @property
    def content_type(self) -> bytes:
        """The media type of the body, in lower case, without parameters."""
        value = self.view.first(b"content-type") or b""
        return value.partition(b";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """True where the body says that it is JSON."""
        return self.content_type == _JSON

    def refuse_script(self) -> None:
        """Refuse what a script in a browser asks for, of the same origin too (S6). Raises `Refused`.

        An application may have its pages on the gate's own host: its scripts must not give the
        person who looks at them another app, or take theirs away.
        """
        if is_by_script(self.view):
            raise Refused("cross_site", "a script or a frame asks, by Sec-Fetch-Mode or -Dest")

    def carried(self) -> Carried:
        """Return the request's credentials for a scheme."""
        cookies = parse_cookies(self.view.values(b"cookie"))
        return Carried(
            self.view,
            self.query,
            cookies,
            self.client.address,
            is_local=is_plain_local(self.client),
            path=parse_target(self.view.target, self.view.method).path,
            client=self.client,
        )

    def parameters(self) -> dict[str, str]:
        """Return the query's parameters. Raises `Refused` (400) where one occurs twice."""
        return _fields(self.query or b"", "query")

    def form(self) -> dict[str, str]:
        """Return the fields of a form post. Raises `Refused` (400) for anything else."""
        if self.content_type != _FORM or len(self.view.values(b"content-type")) != 1:
            raise Refused("bad_request", "the body is not a form")
        return _fields(self.body, "form")

    def json(self) -> dict[str, Any]:
        """Return the JSON object of the body. Raises `Refused` (400) for anything else."""
        if not self.is_json or len(self.view.values(b"content-type")) != 1:
            raise Refused("bad_request", "the body is not JSON")
        try:
            return loads_object(self.body, max_bytes=MAX_BODY_BYTES)
        except BadJson as error:
            raise Refused("bad_request", f"the body: {error}") from None

    def input(self) -> dict[str, str]:
        """Return the texts of a form or of a JSON object. Raises `Refused` (400)."""
        if not self.is_json:
            return self.form()
        content = self.json()
        for name, value in content.items():
            if not isinstance(value, str):
                raise Refused("bad_request", f"{name[:32]!r} is not a text")
        return content


def _fields(raw: bytes, where: str) -> dict[str, str]:
    try:
        return read_fields(raw, where)
    except ValueError as error:
        raise Refused("bad_request", str(error)) from None
