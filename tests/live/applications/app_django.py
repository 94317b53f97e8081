"""A Django application with its sessions in its cache in Redis: /login, /logout, who the caller is.

Its arguments: none for Django's own cache; else django-redis's serializer and compressor.
"""

from __future__ import annotations

import os
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path

SERIALIZERS = {"json": "json.JSONSerializer", "msgpack": "msgpack.MSGPackSerializer"}
COMPRESSORS = {
    "none": "identity.IdentityCompressor", "zlib": "zlib.ZlibCompressor", "gzip": "gzip.GzipCompressor",
    "lzma": "lzma.LzmaCompressor", "zstd": "zstd.ZStdCompressor", "lz4": "lz4.Lz4Compressor",
}  # fmt: skip
CACHE: dict[str, object] = {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
if len(sys.argv) > 1:
    serializer, compressor = sys.argv[1:]
    options = {"COMPRESSOR": f"django_redis.compressors.{COMPRESSORS[compressor]}"}
    if serializer in SERIALIZERS:
        options["SERIALIZER"] = f"django_redis.serializers.{SERIALIZERS[serializer]}"
    CACHE = {"BACKEND": "django_redis.cache.RedisCache", "OPTIONS": options}
settings.configure(
    SECRET_KEY="a secret of the tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    CACHES={"default": {**CACHE, "LOCATION": os.environ["REDIS_URL"]}},
)
django.setup()


def whoami(request: HttpRequest) -> JsonResponse:
    told = request.headers.get("X-Auth-Subject")
    return JsonResponse({"user": request.session.get("_auth_user_id"), "told": told})


def login(request: HttpRequest) -> JsonResponse:
    request.session.cycle_key()
    request.session["_auth_user_id"] = "42"
    request.session["seen"] = [f"page {number}" for number in range(40)]  # worth compressing
    return whoami(request)


def touch(request: HttpRequest) -> JsonResponse:
    request.session.modified = True
    return whoami(request)


def leave(request: HttpRequest) -> JsonResponse:
    request.session.pop("_auth_user_id", None)
    request.session["cart"] = [1, 2]
    return whoami(request)


def logout(request: HttpRequest) -> JsonResponse:
    request.session.flush()
    return JsonResponse({"user": None})


urlpatterns = [
    path("", whoami),
    path("login", login),
    path("touch", touch),
    path("leave", leave),
    path("logout", logout),
]


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_what: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    from django.core.wsgi import get_wsgi_application

    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()
