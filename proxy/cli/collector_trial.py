"""Trying a collector of traces: `check --connect` sends it a batch without spans."""

from __future__ import annotations

import os
import ssl

import aiohttp

from proxy.config.tracing_models import TracingConfig


async def try_collector(tracing: TracingConfig) -> tuple[bool, str]:
    """Return whether the collector takes spans, and what is to be said of it.

    A message of OTLP without a field is one of no bytes, and an answer to it says as much of path,
    credentials and certificate as one to spans.
    """
    context = ssl.create_default_context(cafile=tracing.ca) if tracing.ca else True
    headers = {name: value.reveal() for name, value in tracing.headers.items()}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(tracing.timeout)) as session,
            session.post(
                tracing.endpoint,
                data=b"",
                headers={**headers, "Content-Type": "application/x-protobuf"},
                allow_redirects=False,
                ssl=context,
            ) as response,
        ):
            if response.status == 200:
                return True, "takes spans"
            return False, f"answers {response.status}"
    except TimeoutError:
        return False, "no answer in time"
    except aiohttp.ClientConnectorCertificateError as error:
        return False, getattr(
            error.certificate_error, "verify_message", "its certificate is not good"
        )
    except OSError as error:
        return False, os.strerror(error.errno) if error.errno else type(error).__name__
    except (aiohttp.ClientError, ValueError) as error:
        return False, type(error).__name__
