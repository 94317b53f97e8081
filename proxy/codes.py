"""The stable codes of the gate's own answers: status and public words for each.

One table, compared with docs/codes.md by a test. The words never depend on the request. `title` is
for everybody; `meaning` and `remedy` stand on the pages that people see, who know neither HTTP nor
this gate, and what the operator has to know stands in docs/codes.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CodeInfo:
    """What a client is told."""

    status: int
    """HTTP status."""
    title: str
    """One sentence: what is the matter."""
    meaning: str
    """What has happened, in plain words."""
    remedy: str
    """What the reader can do about it."""


CODES: Final[dict[str, CodeInfo]] = {
    # 400: the request can be read in more than one way, or in none
    "bad_request": CodeInfo(
        400,
        "The request could not be understood.",
        "What arrived here is not a request that the gate can read.",
        "Check the address, or go back and try again.",
    ),
    "path_ambiguous": CodeInfo(
        400,
        "The path could mean different things to different servers.",
        "The address has signs in it that one server reads in one way and the next in another, so it was not passed on.",
        "Check the address; it may have been copied with something in it that does not belong there.",
    ),
    "header_ambiguous": CodeInfo(
        400,
        "A header could mean different things to different servers.",
        "Something on the way has added to the request, so that it now says two things.",
        "Switch off what changes requests, such as a browser extension, and try again.",
    ),
    "host_invalid": CodeInfo(
        400,
        "The Host header is not a host, or not the one that the target names.",
        "The request does not say clearly which site it is for.",
        "Check the name of the site in the address.",
    ),
    "cookie_duplicate": CodeInfo(
        400,
        "A session cookie was sent twice with different values.",
        "Your browser holds two sessions for this site, and nobody can tell which one is yours. It was told to forget both.",
        "Sign in again. If this comes back, delete the cookies of this site.",
    ),
    "insecure_origin": CodeInfo(
        400,
        "Nobody can sign in here: the connection is not encrypted.",
        "A password would be readable on its way.",
        "Open this page by its https address.",
    ),
    "login_expired": CodeInfo(
        400,
        "This sign-in is not known here, or it took too long.",
        "It was begun in another browser, more than ten minutes ago, or it has been finished already.",
        "Go back to where you wanted to go, and sign in again.",
    ),
    # 401: no credential that opens this route
    "credential_missing": CodeInfo(
        401,
        "Please sign in.",
        "This page is for people who are signed in.",
        "Sign in to the application, then open this page again.",
    ),
    "session_unknown": CodeInfo(
        401,
        "Your session is not known. Please sign in again.",
        "It was ended, perhaps on another device, or it was never there.",
        "Sign in to the application, then open this page again.",
    ),
    "session_expired": CodeInfo(
        401,
        "Your session has ended. Please sign in again.",
        "It was not used for a while, or it has reached its longest time.",
        "Sign in to the application, then open this page again.",
    ),
    "session_moved": CodeInfo(
        401,
        "Your session was used from another place. Please sign in again.",
        "It belongs to the network and the browser in which you signed in, so it was ended.",
        "Sign in again. If it was not you who moved, change your password.",
    ),
    "certificate_invalid": CodeInfo(
        401,
        "Your certificate is not accepted here.",
        "It was withdrawn, or it does not say clearly who you are.",
        "Use another certificate, or ask whoever issued it for one.",
    ),
    "certificate_expired": CodeInfo(
        401,
        "Your certificate is not valid at this time.",
        "Its time has not begun, or is over.",
        "Ask whoever issued it for a new one.",
    ),
    "login_failed": CodeInfo(
        401,
        "That name and password do not go together.",
        "One of them is wrong, or the account is not open.",
        "Look for a slip of the pen, then try again.",
    ),
    "otp_required": CodeInfo(
        401,
        "A one-time code is needed as well.",
        "This account has a second factor.",
        "Sign in again with the code that your authenticator shows.",
    ),
    "otp_missing": CodeInfo(
        401,
        "An authenticator app is needed as well.",
        "Everybody here signs in with one, and this account has none yet.",
        "Sign in on the sign-in page, which shows how to set one up.",
    ),
    "token_expired": CodeInfo(
        401,
        "The token has expired.",
        "What your browser or program showed was good once, but its time is over.",
        "Sign in again, or get a new token, then try again.",
    ),
    "token_invalid": CodeInfo(
        401,
        "The token is not valid here.",
        "It was made for something else, or it was changed on the way.",
        "Sign in again, or get a token that is made for this service.",
    ),
    "token_revoked": CodeInfo(
        401,
        "The token has been revoked.",
        "Somebody has taken it back: you by signing out, or whoever looks after accounts here.",
        "Sign in again, or get a new token.",
    ),
    "token_issuer_unknown": CodeInfo(
        401,
        "The token's issuer is not accepted here.",
        "It comes from somebody whose word does not count here.",
        "Get a token from the issuer that this service works with.",
    ),
    "proof_missing": CodeInfo(
        401,
        "The token has to come with a proof of its key.",
        "What your program showed is good together with a key only, and it did not show that it has one.",
        "Send the token as DPoP, with a proof made for this request.",
    ),
    "proof_invalid": CodeInfo(
        401,
        "The proof of the token's key is not valid for this request.",
        "It was made for another request, too long ago, or it was used before.",
        "Make a new proof for each request; check the clock of the device.",
    ),
    "proof_nonce_missing": CodeInfo(
        401,
        "The proof of the token's key has to carry the nonce of this answer.",
        "Proofs have to show here that they were made just now, and this one does not, or not any more.",
        "Make a new proof with the value of DPoP-Nonce as its nonce, and send the request again.",
    ),
    # 403: known, but not allowed
    "decision_misdescribed": CodeInfo(
        403,
        "The proxy in front did not say clearly what was asked for.",
        "Two programs that guard this site do not understand each other.",
        "Tell the people who run this site; trying again does not help.",
    ),
    "decision_unanswerable": CodeInfo(
        403,
        "The proxy in front could not do with this request what has to be done.",
        "Something in the request would reach the application that must not.",
        "Switch off what changes requests, such as a browser extension, and try again.",
    ),
    "role_missing": CodeInfo(
        403,
        "You do not have a role that opens this.",
        "You are signed in, but this part is for people who have another role.",
        "If you need it, ask whoever looks after accounts here for the role, then sign in again.",
    ),
    "scope_missing": CodeInfo(
        403,
        "The credential does not have the scope that opens this.",
        "You are known, but what you showed was not made for this part.",
        "Get a token with the scope that this part asks for.",
    ),
    "claim_mismatch": CodeInfo(
        403,
        "The credential does not say what this route asks for.",
        "You are known, but this part is for others, such as the people of another organisation.",
        "Sign in with the account that this part belongs to, or ask whoever looks after accounts here.",
    ),
    "login_stale": CodeInfo(
        403,
        "This sign-in page is too old, or came from somewhere else.",
        "Its form does not belong to this browser.",
        "Open the sign-in page again.",
    ),
    "form_stale": CodeInfo(
        403,
        "This page is too old, or came from somewhere else.",
        "Its form does not belong to the session that this browser has now.",
        "Open the page again.",
    ),
    "cross_site": CodeInfo(
        403,
        "The request came from another site.",
        "Another site made your browser send it. Because that site could have acted in your name, nothing was done.",
        "If you meant it, open this site itself and do it there.",
    ),
    "step_up_required": CodeInfo(
        403,
        "Please prove again that it is you.",
        "You are signed in, but this part wants to know that it is still you: by a code of your app, or by your password.",
        "Sign in again, with a code if you have an app for it, then open this page again.",
    ),
    "factor_wrong": CodeInfo(
        403,
        "That code or password is not right.",
        "It was mistyped, or it is a code that was used before: each is good once.",
        "Wait for the next code of your app, then try again.",
    ),
    "credentials_differ": CodeInfo(
        403,
        "The credentials of this request do not belong together.",
        "Your browser or program showed two of them, and only one may be shown here, or they name two people.",
        "Sign out everywhere, then sign in once.",
    ),
    "subject_missing": CodeInfo(
        403,
        "The credential does not say whose it is.",
        "Without a name nobody can be let in.",
        "Tell whoever runs this service, with the request id below.",
    ),
    "identity_too_large": CodeInfo(
        403,
        "The identity does not fit into the request.",
        "What is known about you, such as your roles, is more than can be passed on.",
        "Ask whoever looks after accounts here for fewer roles or groups.",
    ),
    "login_refused": CodeInfo(
        403,
        "You could not be signed in.",
        "The service where you proved who you are did not say yes.",
        "Try again. If it comes back, ask whoever looks after accounts here.",
    ),
    # 4xx: protocol
    "route_not_found": CodeInfo(
        404,
        "There is nothing here.",
        "The address leads nowhere on this site.",
        "Check the address. It may be mistyped, or the page may have moved.",
    ),
    "session_not_found": CodeInfo(
        404,
        "There is no such session.",
        "It has ended already, or it was never there.",
        "Look at the list of sessions again.",
    ),
    "family_not_found": CodeInfo(
        404,
        "There is no such refresh family.",
        "It has ended already, or it was never there.",
        "Look at the list of programs again.",
    ),
    "method_not_allowed": CodeInfo(
        405,
        "This method is not allowed here.",
        "What is here cannot be used in this way.",
        "Go back and use the page's own links and buttons.",
    ),
    "request_timeout": CodeInfo(
        408,
        "The request did not arrive in time.",
        "It came too slowly, or it broke off on the way.",
        "Check your connection, then try again.",
    ),
    "length_required": CodeInfo(
        411,
        "The request needs a Content-Length.",
        "The service behind this gate must know beforehand how long a message is.",
        "Send it again with its length; a browser does so with an ordinary form.",
    ),
    "body_too_large": CodeInfo(
        413,
        "The request body is too large.",
        "More was sent than is taken here at once.",
        "Send a smaller file, or several one by one.",
    ),
    "expectation_failed": CodeInfo(
        417,
        "The expectation is not supported.",
        "The request asks for something that the gate cannot promise.",
        "Send it again without the Expect header.",
    ),
    "too_many_attempts": CodeInfo(
        429,
        "There were too many unknown credentials from your network.",
        "Somebody there is guessing: nobody's session or token was among what was sent.",
        "Wait a moment, then try again. Whoever is signed in already is let through meanwhile.",
    ),
    "too_many_requests": CodeInfo(
        429,
        "There are too many requests at the moment.",
        "More came from you, or from your network, than is taken in this time.",
        "Wait a little, then try again.",
    ),
    "headers_too_large": CodeInfo(
        431,
        "The request's head is too large.",
        "Most often a browser has collected too many cookies of a site.",
        "Delete the cookies of this site, then sign in again.",
    ),
    # 5xx: something behind or beside the gate
    "internal_error": CodeInfo(
        500,
        "The gate made a mistake.",
        "It is not your fault, and the mistake has been noted.",
        "Try again. If it comes back, tell whoever runs this service, with the request id below.",
    ),
    "upstream_unreachable": CodeInfo(
        502,
        "The service behind this gate cannot be reached.",
        "It is down, or it is being restarted. Nothing is wrong with your request.",
        "Wait a moment, then try again.",
    ),
    "upstream_invalid": CodeInfo(
        502,
        "The service behind this gate gave no valid answer.",
        "It broke off, or what it said made no sense. Nothing is wrong with your request.",
        "Try again. If it comes back, tell whoever runs this service, with the request id below.",
    ),
    "provider_invalid": CodeInfo(
        502,
        "The sign-in service gave an answer that cannot be accepted.",
        "What it said does not fit this sign-in, so nobody was signed in.",
        "Try again. If it comes back, tell whoever runs this service, with the request id below.",
    ),
    "upstream_down": CodeInfo(
        503,
        "The service behind this gate is out of order at the moment.",
        "It has failed several times in a row, so it is left alone for a little while.",
        "Wait a moment, then try again.",
    ),
    "upstream_busy": CodeInfo(
        503,
        "The service behind this gate has too much to do at the moment.",
        "It answers more slowly than requests arrive. Nothing is wrong with your request.",
        "Wait a moment, then try again.",
    ),
    "decision_changed": CodeInfo(
        503,
        "What may be opened has changed in this moment.",
        "The request was refused, and would now be let through.",
        "Try again.",
    ),
    "store_unavailable": CodeInfo(
        503,
        "Sessions cannot be looked up at the moment.",
        "So nobody can be recognised just now. You have not been signed out.",
        "Wait a moment, then try again.",
    ),
    "keys_unavailable": CodeInfo(
        503,
        "Tokens cannot be verified at the moment.",
        "So nobody's token can be checked just now. Nothing is wrong with yours.",
        "Wait a moment, then try again.",
    ),
    "provider_unavailable": CodeInfo(
        503,
        "The sign-in service cannot be reached at the moment.",
        "So nobody can sign in with it just now. Whoever is signed in stays so.",
        "Wait a moment, then try again.",
    ),
    "login_busy": CodeInfo(
        503,
        "Too many people are signing in at the moment.",
        "Checking who somebody is takes a while, and others are before you.",
        "Wait a moment, then try again.",
    ),
    "draining": CodeInfo(
        503,
        "The gate is shutting down.",
        "It is being restarted, and another one takes over. What you asked for may still be done.",
        "Try again. Before you repeat something that counts, look whether it has been done.",
    ),
    "upstream_timeout": CodeInfo(
        504,
        "The service behind this gate did not answer in time.",
        "It is busy, or something that it depends on hangs. What you asked for may still be done.",
        "Wait a moment. Before you repeat something that counts, look whether it has been done.",
    ),
    "version_not_supported": CodeInfo(
        505,
        "This version of HTTP is not supported.",
        "The gate speaks HTTP/1.1 and HTTP/1.0.",
        "Use a current browser or program.",
    ),
    "loop": CodeInfo(
        508,
        "The request has come back to this gate.",
        "The way behind the gate leads back to it, so the request would go round for ever.",
        "Tell whoever runs this service, with the request id below.",
    ),
}
