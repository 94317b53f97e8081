"""What X.509 certificates say of their holders (RFC 5280). Whether to believe them is TLS's to say."""

from __future__ import annotations

from cryptography import x509


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
