"""Why a connection was not trusted, by either side: the faults of TLS that trying again does not mend."""

from __future__ import annotations

import re

_FAULT = re.compile(r"\[SSL: (\w+)\]")
_NOT_TRUSTED_HERE = "CERTIFICATE_VERIFY_FAILED"
_ASKS_FOR_ONE = "CERTIFICATE_REQUIRED"
_BREAKS_OFF = "HANDSHAKE_FAILURE"
_DOES_NOT_TAKE_IT = re.compile(r"ALERT_\w*(?:CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)")


def distrust(error: BaseException) -> str | None:
    """What a host has or wants that ended a connection to it, and what to set; None for any other fault."""
    fault = _fault_of(error)
    if fault is None:
        return None
    name, said = fault
    if name == _NOT_TRUSTED_HERE:
        return (
            f"has a certificate that is not trusted here: {said}. Name the file of who signed it in "
            "SSL_CERT_FILE, or in ca_bundle where the destination has that."
        )
    if _BREAKS_OFF in name:
        return f"broke off ({said}), as hosts do that want a client certificate. Set client_certificate."
    if _ASKS_FOR_ONE in name:
        return f"wants a client certificate ({said}). Set client_certificate to one that it knows."
    if _DOES_NOT_TAKE_IT.search(name):
        return f"does not take the client certificate ({said}). Set client_certificate to one that it knows."
    return None


def _fault_of(error: BaseException | None) -> tuple[str, str] | None:
    """The name of the first fault of TLS among an error and its causes, and what is said of it."""
    seen = 0
    while error is not None and seen < 10:
        if found := _FAULT.search(str(error)):
            said = str(error)[found.end() :].partition(" (_ssl")[0].strip(" :")
            return found[1], said or found[1].replace("_", " ").lower()
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
