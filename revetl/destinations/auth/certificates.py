"""Client certificates and certificates of one's own to trust: what a destination's TLS is made of."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
from pydantic import SecretStr

from revetl.config.base import Checked
from revetl.errors import UsageError


class ClientCertificate(Checked):
    """A certificate that says who calls, with its chain, and its key, both in PEM."""

    certificate: Path
    key: Path | None = None
    password: SecretStr | None = None


def context_of(client: ClientCertificate | None, ca_bundle: Path | None) -> ssl.SSLContext | None:
    """TLS with a client certificate, and with the certificates of a bundle trusted besides the usual; None
    where there is neither. Raises UsageError naming the key and the file that cannot be used."""
    if client is None and ca_bundle is None:
        return None
    context = httpx.create_ssl_context()
    if ca_bundle is not None:
        bundle = _readable("ca_bundle", ca_bundle)
        try:
            context.load_verify_locations(bundle)
        except ssl.SSLError as error:
            raise UsageError(f"ca_bundle: {bundle} has no certificate in PEM ({_said(error)}).") from None
    if client is not None:
        certificate = _readable("client_certificate.certificate", client.certificate)
        key = certificate if client.key is None else _readable("client_certificate.key", client.key)
        password = "" if client.password is None else client.password.get_secret_value()
        try:
            # Without any password the library would ask for one at the terminal.
            context.load_cert_chain(certificate, key, password)
        except (ssl.SSLError, ValueError) as error:
            raise UsageError(
                f"client_certificate: {certificate} and {key} cannot be used ({_said(error)}). They are to "
                "be a certificate and its own key, in PEM; a key that is encrypted needs its password."
            ) from None
    return context


def _readable(key: str, path: Path) -> Path:
    found = path.expanduser()
    try:
        found.read_bytes()
    except OSError as error:
        raise UsageError(f"{key}: {found} cannot be read ({error.strerror}). Name the file.") from None
    return found


def _said(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()
