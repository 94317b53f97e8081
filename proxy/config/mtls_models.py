"""The section of a scheme whose credential is the certificate of a TLS client."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from proxy.config.strict import Section
from proxy.config.values import VARIABLE, Text, not_empty, parse_text, unique

CertificateName = Literal["uri", "dns", "email", "common_name"]


def _parse_fingerprint(value: object) -> str:
    """Return SHA-256 of a certificate as 64 hexadecimal digits, lower case; colons are allowed."""
    digits = parse_text(value).replace(":", "").lower()
    if len(digits) != 64 or any(digit not in "0123456789abcdef" for digit in digits):
        raise ValueError("must be a SHA-256 fingerprint: 64 hexadecimal digits")
    return digits


Fingerprint = Annotated[
    str,
    PlainValidator(_parse_fingerprint),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^([0-9A-Fa-f]{2}:?){32}$"},
                {"type": "string", "pattern": VARIABLE},
            ]
        }
    ),
]


class RevokedConfig(Section):
    """Certificates that TLS believes, and the gate does not any more."""

    fingerprints: Annotated[list[Fingerprint], AfterValidator(unique)] = []
    """SHA-256 of single certificates: 64 hexadecimal digits, colons allowed."""
    subjects: Annotated[list[Text], AfterValidator(unique)] = []
    """Whose every certificate is worth nothing, those made later too."""


class MtlsSchemeConfig(Section):
    """Certificates of clients, on the gate's own TLS connections and nowhere else."""

    type: Literal["mtls"]
    """`mtls`."""
    subject: CertificateName
    """Which name of the certificate names its holder: of its SAN, or the CN. It must have exactly
    one of that kind."""
    roles: dict[Text, Annotated[list[Text], AfterValidator(unique), AfterValidator(not_empty)]] = {}
    """The roles of subjects: `{"spiffe://shop/billing": [biller]}`. Who is not named has none."""
    revoked: RevokedConfig = RevokedConfig()
    """Certificates that TLS believes, and the gate does not any more."""

    @property
    def identity(self) -> None:
        """There are no paths into a record."""
        return None
