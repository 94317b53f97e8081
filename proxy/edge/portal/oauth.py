"""`/token`, `/revoke` and `/introspect`: what OAuth clients ask (RFC 6749, RFC 7009, RFC 7662).

They are answered in the form of their RFCs, errors too (RFC 6749 §5.2). What never belongs here: who
gets a token.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from proxy.core.oauth import CHALLENGE, OAuthRefused
from proxy.core.own_cookies import is_insecure
from proxy.edge.portal.reply import Refused, Reply, json_reply
from proxy.services.login import Whereabouts
from proxy.services.oauth import TokenService, TooManyAttempts
from proxy.services.proofs import nonce_headers
from proxy.services.token_request import TokenRequest

if TYPE_CHECKING:
    from proxy.edge.portal.portal import Endpoint
    from proxy.edge.portal.visit import Visit

_NO_CACHE = ((b"Pragma", b"no-cache"),)
"""RFC 6749 §5.1 asks for it beside Cache-Control, which every answer has."""


def endpoints(tokens: TokenService) -> Mapping[str, Endpoint]:
    """Return the endpoints of this part by name."""
    return {
        "token": _endpoint(_token, tokens),
        "revoke": _endpoint(_revoke, tokens),
        "introspect": _endpoint(_introspect, tokens),
    }


async def _token(service: TokenService, request: TokenRequest) -> Reply:
    granted = await service.token(request)
    answer, headers = granted.answer, (*_NO_CACHE, *nonce_headers(granted.next_nonce))
    return json_reply(answer.members(), 200, headers, subject=answer.subject)


async def _revoke(service: TokenService, request: TokenRequest) -> Reply:
    await service.revoke(request)
    return Reply(200)


async def _introspect(service: TokenService, request: TokenRequest) -> Reply:
    told: Mapping[str, Any] = await service.introspect(request)
    return json_reply(told, 200, _NO_CACHE)


def _endpoint(
    answer: Callable[[TokenService, TokenRequest], Awaitable[Reply]], service: TokenService
) -> Endpoint:
    async def endpoint(visit: Visit) -> Reply:
        try:
            return await answer(service, _request(visit, service.rules.public_url))
        except OAuthRefused as refused:
            return _refusal(refused)
        except TooManyAttempts as many:
            wait = (b"Retry-After", b"%d" % max(1, math.ceil(many.wait_s)))
            raise Refused(many.code, many.detail, (wait,)) from None

    return endpoint


def _request(visit: Visit, public_url: str | None) -> TokenRequest:
    """Return what the client asks; raises `OAuthRefused` for what is no form, or says a thing twice."""
    try:
        form = visit.form()
    except Refused as refused:
        raise OAuthRefused("invalid_request", refused.detail) from None
    return TokenRequest(
        form=form,
        authorization=visit.view.first(b"authorization"),
        carried=visit.carried(),
        now=visit.now,
        where=Whereabouts(visit.client.address, visit.view.first(b"user-agent")),
        request_id=visit.request_id,
        is_insecure=is_insecure(visit.client, public_url),
    )


def _refusal(refused: OAuthRefused) -> Reply:
    members: dict[str, str] = {"error": refused.error}
    if refused.description is not None:
        members["error_description"] = refused.description
    challenge = CHALLENGE if refused.status == 401 else ()
    return json_reply(
        members,
        refused.status,
        (*challenge, *_NO_CACHE, *nonce_headers(refused.nonce)),
        code=refused.error,
        detail=refused.detail,
    )
