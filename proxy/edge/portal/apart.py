"""Pages that no script of their own origin reads or speaks for (security.md, S6).

An application may share the gate's host, and so its origin: what a script of it asks is refused by
`Visit.refuse_script`, but it could open the page in a window and read there, or send a form as the
page does. So the page stands in a window apart (HTML §7.1.3), and its forms say what only the page
knows. What never belongs here: which pages are of that kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from proxy.edge.portal.reply import Refused
from proxy.model import Header

if TYPE_CHECKING:
    from proxy.edge.portal.visit import Visit

APART: Final[Header] = (b"Cross-Origin-Opener-Policy", b"same-origin")
"""Whoever opened the page has no handle on its window, unless it says the same of itself."""


def form_token(cookie: bytes | str) -> str:
    """Return what the forms of a page say that is shown to a session: no script sees its cookie."""
    raw = cookie if isinstance(cookie, bytes) else cookie.encode()
    return sha256(b"latchgate form of a page apart\0" + raw).hexdigest()


def check_form(visit: Visit, said: Mapping[str, str], token: str) -> None:
    """Raise `Refused` for a form that a browser sends, unless it is of the page with `token`.

    Programs show no page and say no `Sec-Fetch-Mode`; no script in a browser can leave that out.
    """
    if not visit.view.values(b"sec-fetch-mode"):
        return
    given = said.get("csrf", "").encode("utf-8", "surrogatepass")
    if not compare_digest(token.encode(), given):
        raise Refused("form_stale", "the form has not what its page says")
