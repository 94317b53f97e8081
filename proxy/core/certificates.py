"""What X.509 certificates say of their holders (RFC 5280). Whether to believe them is TLS's to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

_KINDS: Final[Mapping[str, Any]] = {
    "uri": x509.UniformResourceIdentifier,
    "dns": x509.DNSName,
    "email": x509.RFC822Name,
}
"""The kinds of a SAN that can name somebody."""


def dns_names(pem: bytes) -> tuple[str, ...]:
    """Return the hosts that the first certificate of a chain is for, in lower case (RFC 6125 §6.4).

    Names such as `*.example.com` stand for one label. Raises ValueError for what is no certificate.
    """
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    names = found.value.get_values_for_type(x509.DNSName)
    return tuple(dict.fromkeys(name.lower().rstrip(".") for name in names))


@dataclass(frozen=True, slots=True)
class Holder:
    """What a certificate says of who has it."""

    names: Mapping[str, tuple[str, ...]]
    """By kind: `uri`, `dns`, `email` of the SAN, and `common_name` of the subject."""
    issuer: str
    """As RFC 4514 writes it."""
    serial: str
    """Hexadecimal digits."""
    fingerprint: str
    """SHA-256 of the certificate, as hexadecimal digits."""
    begins_at: float
    """Epoch seconds."""
    ends_at: float


@lru_cache(maxsize=1024)
def holder_of(der: bytes) -> Holder:
    """Read a client's certificate, which TLS has verified. Raises ValueError for one that is unclear."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names: dict[str, tuple[str, ...]] = {
            "common_name": _common_names(certificate),
            "uri": (),
            "dns": (),
            "email": (),
        }
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                for kind, of in _KINDS.items():
                    names[kind] = tuple(extension.value.get_values_for_type(of))
        return Holder(
            names=names,
            issuer=certificate.issuer.rfc4514_string(),
            serial=f"{certificate.serial_number:x}",
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            begins_at=certificate.not_valid_before_utc.timestamp(),
            ends_at=certificate.not_valid_after_utc.timestamp(),
        )
    except Exception as error:  # noqa: BLE001 - the library raises many kinds, for what strangers had signed
        raise ValueError(f"unreadable: {type(error).__name__}") from None


def _common_names(certificate: x509.Certificate) -> tuple[str, ...]:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return tuple(str(name.value) for name in found)


def expires_at(pem: bytes) -> float:
    """Return when the first certificate of a chain in PEM ends that ends, in epoch seconds.

    Raises ValueError where there is none.
    """
    return min(
        certificate.not_valid_after_utc.timestamp()
        for certificate in x509.load_pem_x509_certificates(pem)
    )
