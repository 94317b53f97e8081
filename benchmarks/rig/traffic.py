"""The requests that the peers are sent, as bytes: pure text, for rig/peers/load.lua."""

from __future__ import annotations

NUMBER = "\1"
"""Stands in a request for a number that no other request has."""
END = "\0"
PATHS = 100
POST = "x" * 1024

API = """\
User-Agent: orders-client/2.4.1
Accept: application/json
Accept-Encoding: gzip, deflate
"""

# What a page's script sends, header by header as Chromium writes them. The referrer changes with
# every request, so that no two are alike.
BROWSER = """\
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36
Accept: application/json, text/plain, */*
sec-ch-ua: "Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"
sec-ch-ua-mobile: ?0
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: https://shop.example.com/orders?page=\1
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9,de;q=0.8
"""
HEADERS = {"api": API, "browser": BROWSER}
COOKIES = "_ga=GA1.1.1843567290.1763972101; theme=dark"
"""What a browser has beside a credential."""


def request(place, host, credential, number, *, headers="api"):
    """Return one request; `place` is `small`, `large`, `post` or `who`, `credential` a header line."""
    method = "POST" if place == "post" else "GET"
    lines = [f"{method} /{place}/items/{number % PATHS}?page={number % 7} HTTP/1.1"]
    lines += [f"Host: {host}", *HEADERS[headers].splitlines()]
    lines += credential_lines(credential, has_cookies=headers == "browser")
    body = ""
    if method == "POST":
        # What a page's own script says; without it a session opens no unsafe method.
        lines += ["Sec-Fetch-Site: same-origin"] if headers == "api" else []
        lines += ["Content-Type: text/plain", f"Content-Length: {len(POST)}"]
        body = POST
    return "\r\n".join([*lines, "", body])


def credential_lines(credential, *, has_cookies):
    """Return the credential's header; a browser adds its cookies, to the credential's where it is one."""
    if not has_cookies:
        return [credential] if credential else []
    if credential.startswith("Cookie: "):
        return [f"{credential}; {COOKIES}"]
    return [*([credential] if credential else []), f"Cookie: {COOKIES}"]


def pool(place, host, credentials, *, headers="api"):
    """Return one request for each credential."""
    return [
        request(place, host, credential, number, headers=headers)
        for number, credential in enumerate(credentials)
    ]


def packed(requests):
    """Return them as the script reads them."""
    return "".join(one + END for one in requests).encode()
