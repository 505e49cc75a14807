"""TLS errors that a retry does not fix: a certificate was not trusted, by either side."""

from __future__ import annotations

import re

_FAULT = re.compile(r"\[SSL: (\w+)\]")
_NOT_TRUSTED_HERE = "CERTIFICATE_VERIFY_FAILED"
_ASKS_FOR_ONE = "CERTIFICATE_REQUIRED"
_BREAKS_OFF = "HANDSHAKE_FAILURE"
_DOES_NOT_TAKE_IT = re.compile(r"ALERT_\w*(?:CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")


def distrust(error: BaseException) -> str | None:
    """Return the TLS problem of a host and the setting that fixes it; None for any other error."""
    fault = _fault_of(error)
    if fault is None:
        return None
    name, said = fault
    if name == _NOT_TRUSTED_HERE:
        return (
            f"has a certificate that is not trusted here: {said}. Set SSL_CERT_FILE, or the destination's "
            "ca_bundle if it has one, to the file of the certificate authority."
        )
    if _BREAKS_OFF in name:
        return f"closed the connection ({said}); it may require a client certificate. Set client_certificate."
    if _ASKS_FOR_ONE in name:
        return f"requires a client certificate ({said}). Set client_certificate to one that it accepts."
    if _DOES_NOT_TAKE_IT.search(name):
        return f"rejected the client certificate ({said}). Set client_certificate to one that it accepts."
    return None


def _fault_of(error: BaseException | None) -> tuple[str, str] | None:
    """Return the name and the message of the first TLS error among an error and its causes."""
    seen = 0
    while error is not None and seen < 10:
        if found := _FAULT.search(str(error)):
            said = str(error)[found.end() :].partition(" (_ssl")[0].strip(" :")
            return found[1], said or found[1].replace("_", " ").lower()
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
