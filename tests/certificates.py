"""A certificate authority for tests: certificates with any names, as files. Never anything else."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BEGIN = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - x509 takes naive UTC


class Authority:
    """Signs certificates; `file` is what those who believe it load."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self.directory, self.name = directory, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        made = self._sign(name, self._key, [], is_authority=True, end=None)
        self.file = directory / f"{name}.ca.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self, name: str, key: Any, names: list[Any], *, is_authority: bool, end: dt.datetime | None
    ) -> x509.Certificate:
        def called(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])

        builder = (
            x509.CertificateBuilder()
            .subject_name(called(name))
            .issuer_name(called(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(BEGIN)
            .not_valid_after(end or BEGIN + dt.timedelta(days=36500))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(
        self, file: str, name: str = "", *names: Any, end: dt.datetime | None = None
    ) -> tuple[Path, Path]:
        """Return the files of a certificate of `name` (its CN) and its key; `names`: its SAN."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._sign(name, key, list(names), is_authority=False, end=end)
        cert_file, key_file = self.directory / f"{file}.pem", self.directory / f"{file}.key"
        cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file


def careless(cert: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Return a client's context that believes any server; `cert`: its own certificate and key."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(*cert)
    return context
