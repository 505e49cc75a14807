"""Every destination that the sandbox plays, configured so that it is played."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Setup:
    """A type of destination: what its address ends with, the keys of its configuration besides, and the keys
    of a sync to it, over the columns user_id, email, phone, first_name, last_name, city, country,
    postal_code, company and score."""

    kind: str
    path: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    sync: dict[str, Any] = field(default_factory=dict)

    def destination(self, sandbox_url: str) -> dict[str, Any]:
        """Its entry under `destinations:` of revetl.yml."""
        return {"type": self.kind, "base_url": f"{sandbox_url}/{self.kind}{self.path}", **self.config}


def setups() -> dict[str, Setup]:
    """The setup of each type."""
    written = yaml.safe_load(Path(__file__).with_name("setups.yml").read_text(encoding="utf-8"))
    return {kind: Setup(kind, **given) for kind, given in written.items()}


def revetl_yml(sandbox_url: str) -> str:
    """A revetl.yml whose destinations are all that are played, each named by its type."""
    destinations = {kind: setup.destination(sandbox_url) for kind, setup in setups().items()}
    return yaml.safe_dump({"destinations": destinations}, sort_keys=False)
