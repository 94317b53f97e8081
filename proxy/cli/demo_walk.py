"""What the demo shows, as commands to paste: from the sign-in to a session that is refused.

Each command is one line that works from any directory; what one leaves for the next is a file in the
demo's own. What never belongs here: how the gate of the demo is run.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from proxy.cli.invocation import program_anywhere
from proxy.core.oauth import SESSION_GRANT


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can sign in to the demo."""

    name: str
    role: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One command to paste, and what it shows."""

    shows: str
    command: str
    answer: str
    """What the output has in it."""


def steps(directory: Path, port: int) -> list[Step]:
    """Return the commands that show what the gate does, in order: each builds on those before."""
    walk = _Walk(directory, f"http://127.0.0.1:{port}")
    return [*walk.browser(), *walk.tokens(), *walk.roles(), *walk.factor(), *walk.end()]


class _Walk:
    def __init__(self, directory: Path, base: str) -> None:
        self._directory = directory
        self._base = base
        self._auth = f"{base}/_auth"
        self._ada = f"-b {self._file('ada.jar')}"
        self._eve = f"-b {self._file('eve.jar')}"

    def browser(self) -> list[Step]:
        """Return what becomes of somebody who opens a page."""
        return [
            Step("No key: 401", f"curl -i {self._base}/account", "401 Unauthorized"),
            Step(
                "A browser that opens a page is sent to the sign-in",
                f"curl -i -H 'Accept: text/html' {self._base}/account",
                "ocation: /_auth/login?next=%2Faccount",
            ),
            Step("Ada signs in, and the jar keeps her cookie", self._sign_in("ada"), '"subject": "ada"'),
            Step("Whom the gate takes her for", f"curl -i {self._ada} {self._auth}/me", '"roles": ["customer"]'),
            Step(
                "Her session opens; the application is told who she is",
                f"curl -i {self._ada} {self._base}/api/whoami",
                '"X-Auth-Scheme": "web"',
            ),
            Step(
                "A spoofed identity header is removed",
                f"curl -i {self._ada} -H 'X-Auth-Subject: root' -H 'X_Auth_Roles: admin' {self._base}/api/whoami",
                '"subject": "ada"',
            ),
            Step(
                "A WebSocket goes through (ends after 2 s)",
                f"curl -sN -i --max-time 2 {self._ada} {_UPGRADE} {self._base}/chat/socket --output -",
                "101 Switching Protocols",
            ),
        ]  # fmt: skip

    def tokens(self) -> list[Step]:
        """Return the steps with tokens: of a session, and of a program that has a refresh token."""
        page, first, second = "page.json", "first.json", "second.json"
        whoami = f"{self._base}/api/whoami"
        login = (
            f"curl -s -d grant_type=password -d client_id=app -d username=ada"
            f" --data-urlencode password@{self._file('ada.password')} {self._auth}/token"
        )
        refresh = (
            f'curl -s -d grant_type=refresh_token -d client_id=app'
            f' -d "refresh_token={self._member(first, "refresh_token")}" {self._auth}/token'
        )  # fmt: skip
        revoke = (
            f"curl -i -d client_id=app"
            f' -d "token={self._member(second, "refresh_token")}" {self._auth}/revoke'
        )
        return [
            Step(
                "A page's script gets a token of her session",
                f"curl -s {self._ada} -H 'Origin: {self._base}' -d grant_type={SESSION_GRANT}"
                f" {self._auth}/token | tee {self._file(page)}",
                '"token_type": "Bearer"',
            ),
            Step(
                "The token opens the same route: either key",
                f"curl -i {self._bearer(page)} {whoami}",
                '"X-Auth-Scheme": "token"',
            ),
            Step(
                "A program of hers gets tokens too, and can refresh them",
                f"{login} | tee {self._file(first)}",
                '"refresh_token": "lgr_',
            ),
            Step(
                "A refresh token is good once, and gives the next",
                f"{refresh} | tee {self._file(second)}",
                '"refresh_token": "lgr_',
            ),
            Step(
                "The new access token opens",
                f"curl -i {self._bearer(second)} {whoami}",
                '"subject": "ada"',
            ),
            Step("Its refresh token is revoked …", revoke, "200 OK"),
            Step(
                "… and the access token is refused as well: 401",
                f"curl -i {self._bearer(second)} {whoami}",
                "token_revoked",
            ),
        ]

    def roles(self) -> list[Step]:
        """Return the steps about who may do what."""
        report = f"{self._base}/api/admin/report"
        return [
            Step("A customer has not the role: 403", f"curl -i {self._ada} {report}", "role_missing"),
            Step("Eve signs in; she is an administrator", self._sign_in("eve"), '"roles": ["admin"]'),
            Step("She has the role: 200", f"curl -i {self._eve} {report}", '"for": "eve"'),
        ]  # fmt: skip

    def factor(self) -> list[Step]:
        """Return the steps on a route that wants a second factor."""
        admin = f"curl -i {self._eve} {self._base}/admin"
        code = self._file("eve.code")
        prove = (
            f"curl -i {self._eve} -c {self._file('eve.jar')} -H 'Content-Type: application/json'"
            f' -d "{{\\"code\\": \\"$(sh {code})\\"}}" {self._auth}/step-up'
        )
        return [
            Step("These pages want a second factor, not older than 15 minutes: 403", admin, "step_up_required"),
            Step("She proves it by a code (the next one comes within 30 s)", prove, '"expires_at": '),
            Step("Now they open", admin, "200 OK"),
        ]  # fmt: skip

    def end(self) -> list[Step]:
        """Return what ends sessions. The jars keep the cookies, as a thief would."""
        config = self._file("latchgate.yaml")
        program = program_anywhere()
        whoami = f"{self._base}/api/whoami"
        return [
            Step("Ada signs out …", f"curl -i {self._ada} -X POST {self._auth}/logout", '{"ended": 1}'),
            Step("… and her cookie is refused with the next request: 401", f"curl -i {self._ada} {whoami}", "session_unknown"),
            Step("So is the token of that session", f"curl -i {self._bearer('page.json')} {whoami}", "token_revoked"),
            Step("You end Eve's sessions …", f"{program} session revoke --subject eve -c {config}", "1 session ended"),
            Step("… and she is out", f"curl -i {self._eve} {whoami}", "session_unknown"),
            Step("What happened is in the audit trail", f"{program} audit -c {config}", "token_revoked"),
        ]  # fmt: skip

    def _file(self, name: str) -> str:
        return shlex.quote(str(self._directory / name))

    def _sign_in(self, name: str) -> str:
        return (
            f"curl -i -c {self._file(f'{name}.jar')} -H 'Content-Type: application/json'"
            f" -d @{self._file(f'{name}.json')} {self._auth}/login"
        )

    def _member(self, name: str, member: str) -> str:
        """Return what the shell makes a text member of a JSON file of."""
        return f"""$(sed 's/.*"{member}": "\\([^"]*\\)".*/\\1/' {self._file(name)})"""

    def _bearer(self, name: str) -> str:
        return f'-H "Authorization: Bearer {self._member(name, "access_token")}"'


_UPGRADE = (
    "-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13'"
    " -H 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=='"
)
