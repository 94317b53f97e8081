"""Forms that only their page can send."""

from __future__ import annotations

import pytest

from proxy.edge.portal.apart import check_form, form_token
from proxy.edge.portal.reply import Refused
from tests.unit.edge.portal.test_visit import visit

BROWSER = ((b"Sec-Fetch-Mode", b"navigate"),)
TOKEN = form_token("cookie")


@pytest.mark.parametrize("said", [{}, {"csrf": ""}, {"csrf": TOKEN[:-1]}, {"csrf": "é\ud800"}])
def test_s6_a_browsers_form_without_the_token_is_refused(said):
    """S6: nothing else counts, and nothing odd in its place is an error."""
    with pytest.raises(Refused) as refused:
        check_form(visit(headers=BROWSER), said, TOKEN)
    assert "form_stale" == refused.value.code


def test_a_form_of_the_page_and_a_program_pass():
    """The page has the token; a program has no page, and no browser lets a script look like one."""
    check_form(visit(headers=BROWSER), {"csrf": TOKEN}, TOKEN)
    check_form(visit(), {}, TOKEN)


def test_a_token_is_of_one_cookie_and_does_not_tell_it():
    """Another session has another, and the id of a session, which lists show, is none of them."""
    assert TOKEN == form_token(b"cookie")
    assert TOKEN != form_token("cookiE")
    assert "cookie" not in TOKEN
