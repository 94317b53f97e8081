"""What the endpoints say of a visit in the audit trail."""

from __future__ import annotations

from proxy.edge.portal.trail import note, note_room, whereabouts
from proxy.edge.portal.visit import Visit
from proxy.model import ClientInfo, Peer, RequestView
from proxy.services.audit import Event
from proxy.services.sessions import NewSession

VISIT = Visit(
    view=RequestView(
        "POST",
        b"/_auth/otp",
        ((b"User-Agent", b"Fox\r\x1b[2J"),),
        Peer("192.0.2.1", 1, False, False),
    ),
    client=ClientInfo("198.51.100.7", "https", "shop.test", None, is_trusted_peer=True),
    request_id="r1",
    segments=("_auth", "otp"),
    query=b"secret=1",
    body=b"code=123456",
    now=5.0,
)


class Notes:
    """Keeps what is noted."""

    def __init__(self):
        self.noted = []

    def note(self, event, now):
        self.noted.append((event, now))


def test_a_visit_is_noted_with_who_and_where_and_nothing_that_was_sent():
    """The client's address as H5 sees it, its agent in printable characters, the request's id."""
    notes = Notes()
    note(notes, VISIT, "otp_failed", "ada", "setting up")

    expected = Event("otp_failed", "ada", "198.51.100.7", "Fox[2J", "r1", detail="setting up")
    assert [(expected, 5.0)] == notes.noted


def test_sessions_that_made_room_are_noted_by_the_beginning_of_their_ids():
    """Whoever loses a session to the limit can be told when and by which sign-in."""
    notes = Notes()
    note_room(notes, VISIT, "ada", NewSession("cookie", "c" * 64, 9.0, ("a" * 64, "b" * 64)))

    assert [
        ("session_ended", "ada", f"{8 * letter}, by the limit of sessions") for letter in "ab"
    ] == [(event.kind, event.subject, event.detail) for event, _ in notes.noted]


def test_a_visit_comes_from_the_client_and_not_from_the_proxy():
    """Guesses are counted by the client's network."""
    assert "198.51.100.0/24" == whereabouts(VISIT).network
