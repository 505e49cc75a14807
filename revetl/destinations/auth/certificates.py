"""TLS settings of a destination: client certificates and additional trusted certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
from pydantic import SecretStr

from revetl.config.base import ConfigModel
from revetl.errors import UsageError


class ClientCertificate(ConfigModel):
    """A client certificate with its chain and its key, both in PEM."""

    certificate: Path
    key: Path | None = None
    password: SecretStr | None = None


def context_of(client: ClientCertificate | None, ca_bundle: Path | None) -> ssl.SSLContext | None:
    """Create a TLS context with a client certificate and the additional certificates of a CA bundle; None if
    neither is set. Raises UsageError naming the key and the unusable file."""
    if client is None and ca_bundle is None:
        return None
    context = httpx.create_ssl_context()
    if ca_bundle is not None:
        bundle = _readable("ca_bundle", ca_bundle)
        try:
            context.load_verify_locations(bundle)
        except ssl.SSLError as error:
            raise UsageError(f"ca_bundle: {bundle} contains no PEM certificate ({_reason(error)}).") from None
    if client is not None:
        certificate = _readable("client_certificate.certificate", client.certificate)
        key = certificate if client.key is None else _readable("client_certificate.key", client.key)
        password = "" if client.password is None else client.password.get_secret_value()
        try:
            # Without a password, the library would prompt for one at the terminal.
            context.load_cert_chain(certificate, key, password)
        except (ssl.SSLError, ValueError) as error:
            raise UsageError(
                f"client_certificate: {certificate} and {key} cannot be used ({_reason(error)}). They must "
                "be a matching certificate and key in PEM; an encrypted key also needs its password."
            ) from None
    return context


def _readable(key: str, path: Path) -> Path:
    found = path.expanduser()
    try:
        found.read_bytes()
    except OSError as error:
        raise UsageError(f"{key}: cannot read {found} ({error.strerror}). Check the path.") from None
    return found


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
