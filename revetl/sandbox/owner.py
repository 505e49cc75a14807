"""Which project a sandbox belongs to, so that no other project's syncs are sent to it by mistake.

Requests to this machine say which project they are of; a sandbox of another one answers 421 (Misdirected
Request) and says whose it is. Servers that are no sandbox ignore the header.
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
    """What tells a project's folder from any other: its name, and an id kept in `.revetl/project`; where that
    cannot be kept, one made of the folder's path."""
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
    """Whether a host is this machine, or one that has a name only here, such as another container."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return "." not in host or host.endswith(".localhost")


def signed_by_project(request: httpx.Request, project: str | None) -> None:
    """Have a request say which project it is of, where a sandbox may be what it goes to."""
    if project is not None and is_local(request.url.host):
        request.headers[PROJECT_HEADER] = project


def refusal_of(response: httpx.Response) -> str | None:
    """Why a sandbox does not take a request, in a sentence; None for any other answer."""
    owner = response.headers.get(SANDBOX_HEADER)
    if response.status_code != MISDIRECTED or owner is None:
        return None
    url = response.request.url
    return (
        f"The sandbox at {url.host}:{url.port} belongs to another project, {owner.rpartition('-')[0]}. "
        "Nothing was sent. Stop it and run `revetl sandbox` in this project, or start one with another "
        "--port and have base_url name that."
    )
