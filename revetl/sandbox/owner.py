"""The project that a sandbox belongs to, so that other projects' syncs aren't sent to it by mistake.

Requests to this machine name their project; a sandbox of another project responds with 421 (Misdirected
Request) and its own project. Servers other than sandboxes ignore the header.
"""

from __future__ import annotations

import ipaddress
import uuid
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import httpx

PROJECT_HEADER = "Revetl-Project"
SANDBOX_HEADER = "Revetl-Sandbox"
MISDIRECTED = 421


def project_id(root: Path, name: str) -> str:
    """Return the unique id of a project's folder: its name, and an id stored in `.revetl/project`; if that
    can't be stored, a hash of the folder's path."""
    file = root / ".revetl" / "project"
    try:
        file.parent.mkdir(exist_ok=True)
        with suppress(FileExistsError), file.open("x", encoding="ascii") as made:
            made.write(uuid.uuid4().hex)
        found = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        found = ""
    return f"{name}-{found or blake2b(str(root.resolve()).encode(), digest_size=16).hexdigest()}"


def is_local(host: str) -> bool:
    """Whether a host is this machine, or has a name without a domain, such as another container."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return "." not in host or host.endswith(".localhost")


def signed_by_project(request: httpx.Request, project: str | None) -> None:
    """Add the project to a request, if it may go to a sandbox."""
    if project is not None and is_local(request.url.host):
        request.headers[PROJECT_HEADER] = project


def refusal_of(response: httpx.Response) -> str | None:
    """Explain why a sandbox refuses a request; None for any other response."""
    owner = response.headers.get(SANDBOX_HEADER)
    if response.status_code != MISDIRECTED or owner is None:
        return None
    url = response.request.url
    return (
        f"The sandbox at {url.host}:{url.port} belongs to another project, {owner.rpartition('-')[0]}. "
        "Nothing was sent. Stop it and run `revetl sandbox` in this project, or start one on another "
        "--port and point base_url to it."
    )
