"""How other servers and frameworks turn the path of a request into the path that they serve.

Each model is written from the program's documented behaviour, on text, with nothing of
proxy.core.paths: the tests compare two independent views. A model returns decoded paths; `None`
means that the program refuses the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes


def decode(text: str) -> str:
    """Decode every escape once; bytes stand for themselves (Latin-1)."""
    return unquote_to_bytes(text.encode("latin-1")).decode("latin-1")


def decode_parts(text: str) -> str:
    """Decode segment by segment; a decoded slash stays inside its segment, as NUL."""
    return "/".join(decode(part).replace("/", "\0") for part in text.split("/"))


def squeeze(text: str) -> str:
    """Merge slashes."""
    return re.sub("/+", "/", text)


def resolve(text: str) -> str:
    """Resolve dot segments; an empty segment is one that `..` removes."""
    kept: list[str] = []
    for part in text.split("/")[1:]:
        if part == "..":
            kept = kept[:-1]
        elif part != ".":
            kept.append(part)
    return "/" + "/".join(kept)


def cut_parameters(text: str) -> str:
    """Cut `;…` off each segment."""
    return "/".join(part.split(";")[0] for part in text.split("/"))


def backslashes(text: str) -> str:
    """Take a backslash for a slash."""
    return text.replace("\\", "/")


def express(text: str) -> str:
    """Express 4: nothing merged or resolved; decoded per segment; case and final slash ignored."""
    return decode_parts(text)


def whatwg(text: str) -> str:
    """Read `new URL(req.url, base).pathname`: backslashes, authority, dots, also as %2e."""
    text = backslashes(text)
    if text.startswith("//"):
        rest = text.lstrip("/")
        text = "/" + rest.partition("/")[2]
    text = re.sub("%2e", ".", text, flags=re.IGNORECASE)
    return decode_parts(resolve(text))


def whatwg_joined(text: str) -> str:
    """Read the same, decoded as one string."""
    return whatwg(text).replace("\0", "/")


def legacy_node(text: str) -> str:
    """`url.parse(req.url).pathname` and decodeURIComponent of the whole."""
    return decode(backslashes(text).split("#")[0])


def nginx(text: str) -> str:
    """Decode, merge slashes, resolve dots: `$uri` of nginx."""
    return resolve(squeeze(decode(text)))


def nginx_without_merging(text: str) -> str:
    """`merge_slashes off`."""
    return resolve(decode(text))


def tomcat(text: str) -> str:
    """Cut raw parameters, decode, backslashes, merge, resolve (Catalina's order)."""
    return resolve(squeeze(backslashes(decode(cut_parameters(text)))))


def tomcat_keeping_slashes(text: str) -> str:
    """`encodedSolidusHandling=passthrough`: %2F stays inside its segment."""
    return resolve(squeeze(decode_parts(cut_parameters(text))))


def jetty(text: str) -> str:
    """Resolve before and after decoding; parameters are cut between."""
    return resolve(decode(cut_parameters(resolve(text))))


def shiro(text: str) -> str:
    """Decode, cut everything behind the first `;`, normalise."""
    return resolve(squeeze(backslashes(decode(text).split(";")[0] or "/")))


def spring(text: str) -> str:
    """AntPathMatcher of old: parameters cut after decoding, tokens trimmed, slashes sanitised."""
    decoded = squeeze(decode(cut_parameters(text)))
    return "/".join(part.strip(" ") for part in cut_parameters(decoded).split("/"))


def spring_path_pattern(text: str) -> str:
    """PathPatternParser: segments of the raw path, parameters cut, each decoded."""
    return decode_parts(cut_parameters(text))


def iis(text: str) -> str:
    """Decode, backslashes, merge, resolve; names as NTFS has them: no dots or spaces at the end."""
    resolved = resolve(squeeze(backslashes(decode(text))))
    return squeeze("/".join(part.rstrip(" .").split(":$")[0] for part in resolved.split("/")))


def iis_double(text: str) -> str:
    """IIS 4, and everyone who decodes again behind a server that has decoded."""
    return iis(decode(text))


def windows_java(text: str) -> str:
    """`java.io.File` on Windows: spaces at the end go before dots are resolved."""
    parts = backslashes(decode(text)).split("/")
    return squeeze(resolve("/".join(part.rstrip(" ") for part in parts)))


def ntfs_streams(text: str) -> str:
    """`/admin:$i30:$INDEX_ALLOCATION/x` is `/admin/x` on NTFS."""
    parts = squeeze(backslashes(decode(text))).split("/")
    return "/".join(part.split(":")[0] if ":$" in part else part for part in parts)


def rails(text: str) -> str:
    """Journey: slashes merged, the final one cut, segments decoded."""
    return decode_parts(squeeze(text))


def rack_files(text: str) -> str:
    """Rack::Files and Rack::Static: decode, then clean the path."""
    return resolve(squeeze(backslashes(decode(text))))


def php_path_info(text: str) -> str:
    """PATH_INFO of PHP-FPM behind nginx or Apache."""
    return squeeze(decode(text))


def php_request_uri(text: str) -> str:
    """Do as the usual router: urldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH))."""
    if text.startswith("//"):
        text = "/" + text[2:].partition("/")[2]
    return decode(text.split("#")[0])


def wsgi(text: str) -> str:
    """PATH_INFO of PEP 3333: decoded as a whole, nothing else."""
    return decode(text)


def werkzeug(text: str) -> str:
    """Werkzeug: PATH_INFO with merge_slashes."""
    return squeeze(decode(text))


def python_urlsplit(text: str) -> str:
    """`urllib.parse.urlsplit(target).path`: `//host/path` has an authority."""
    if text.startswith("//"):
        text = "/" + text[2:].partition("/")[2]
    return decode(text)


def decoded_again(text: str) -> str:
    """Decode in the application what its server has decoded."""
    return resolve(squeeze(decode(decode(text))))


def decoded_again_by_parts(text: str) -> str:
    """Decode twice without resolving anything."""
    return decode(decode(text))


def decoded_thrice(text: str) -> str:
    """Three layers of decoding, and everything resolved."""
    return resolve(squeeze(backslashes(decode(decode(decode(text))))))


def parsed_again(text: str) -> str:
    """Decode, then parse as a URL once more: `%3F` and `%23` end the path."""
    return re.split("[?#]", decode(text))[0] or "/"


def go_servemux(text: str) -> str:
    """Go before 1.22: path.Clean of the decoded path."""
    return resolve(squeeze(decode(text)))


def go_servemux_escaped(text: str) -> str:
    """Go 1.22 on: the escaped path is cleaned, segments are decoded."""
    return decode_parts(resolve(squeeze(text)))


def envoy(text: str) -> str:
    """Envoy: slashes unescaped (also %5C), merged, dots resolved; nothing else decoded before."""
    text = re.sub("%2f", "/", text, flags=re.IGNORECASE)
    text = re.sub("%5c|\\\\", "/", text, flags=re.IGNORECASE)
    text = re.sub("%2e", ".", text, flags=re.IGNORECASE)
    return decode(resolve(squeeze(text)))


def lenient_utf8(text: str) -> str:
    """Trust lead bytes and never look at continuation bytes, as old decoders do."""
    data = decode(text).encode("latin-1")
    out, index = "", 0
    while index < len(data):
        lead = data[index]
        size = 1 + sum(lead >= limit for limit in (0xC0, 0xE0, 0xF0))
        value = lead if size == 1 else lead & (0x7F >> size)
        for byte in data[index + 1 : index + size]:
            value = value << 6 | byte & 0x3F
        out += chr(min(value, 0x10FFFF))
        index += size
    return resolve(squeeze(out.encode("utf-8", "surrogatepass").decode("latin-1")))


def invalid_dropped(text: str) -> str:
    """Leave out what is not UTF-8."""
    data = decode(text).encode("latin-1")
    return squeeze(data.decode("utf-8", "ignore").encode().decode("latin-1"))


def naive_regexp(text: str) -> str:
    """Apache's mod_rewrite and the like: decoded once, merged, not resolved."""
    return squeeze(decode(text))


@dataclass(frozen=True)
class Reader:
    """A program that serves `serves(raw path)`."""

    serves: Callable[[str], str]
    is_folding: bool = False
    """True when letters' case makes no difference to it."""


READERS = {
    "express": Reader(express, is_folding=True),
    "express strict": Reader(express),
    "whatwg": Reader(whatwg),
    "whatwg, folding": Reader(whatwg, is_folding=True),
    "whatwg joined": Reader(whatwg_joined, is_folding=True),
    "legacy node": Reader(legacy_node, is_folding=True),
    "nginx": Reader(nginx),
    "nginx on a folding file system": Reader(nginx, is_folding=True),
    "nginx without merging": Reader(nginx_without_merging),
    "tomcat": Reader(tomcat),
    "tomcat passthrough": Reader(tomcat_keeping_slashes),
    "jetty": Reader(jetty),
    "shiro": Reader(shiro),
    "spring": Reader(spring),
    "spring path pattern": Reader(spring_path_pattern),
    "iis": Reader(iis, is_folding=True),
    "iis double": Reader(iis_double, is_folding=True),
    "java on windows": Reader(windows_java, is_folding=True),
    "ntfs streams": Reader(ntfs_streams, is_folding=True),
    "rails": Reader(rails),
    "rack files": Reader(rack_files),
    "php path info": Reader(php_path_info),
    "php request uri": Reader(php_request_uri),
    "wsgi": Reader(wsgi),
    "werkzeug": Reader(werkzeug),
    "python urlsplit": Reader(python_urlsplit),
    "decoded again": Reader(decoded_again),
    "decoded again by parts": Reader(decoded_again_by_parts),
    "decoded thrice": Reader(decoded_thrice),
    "parsed again": Reader(parsed_again),
    "go servemux": Reader(go_servemux),
    "go servemux escaped": Reader(go_servemux_escaped),
    "envoy": Reader(envoy),
    "naive regexp": Reader(naive_regexp),
    "lenient utf-8": Reader(lenient_utf8),
    "invalid utf-8 dropped": Reader(invalid_dropped),
}
"""By name. Those that fold are compared only where the upstream is not `paths: exact`."""


FOLDING_FILE_NAMES = frozenset({"spring", "iis", "iis double", "java on windows", "ntfs streams"})
"""Readers that cut dots and spaces, or streams: covered by P5 only."""
