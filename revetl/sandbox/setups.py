"""Configurations of every mocked destination, pointing at the sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from revetl.local.package_yaml import read_package_yaml


@dataclass(frozen=True)
class Setup:
    """A destination, named by its type, or by its type, a dot, and a variant: the suffix of its URL, its
    other configuration keys (`ADDRESS` in them stands for its URL), and the keys of a sync to it, over the
    columns user_id, email, phone, first_name, last_name, city, country, postal_code, company and score."""

    name: str
    path: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    sync: dict[str, Any] = field(default_factory=dict)

    def destination(self, sandbox_url: str) -> dict[str, Any]:
        """Return its entry under `destinations:` of revetl.yml."""
        address = f"{sandbox_url}/{self.name}{self.path}"
        given = {
            key: value.replace("ADDRESS", address) if isinstance(value, str) else value
            for key, value in self.config.items()
        }
        return {"type": self.type, "base_url": address, **given}

    @property
    def type(self) -> str:
        """Return its type."""
        return self.name.partition(".")[0]


def setups() -> dict[str, Setup]:
    """Return the setups, by name."""
    written = read_package_yaml(Path(__file__).with_name("setups.yml"))
    return {name: Setup(name, **given) for name, given in written.items()}


def revetl_yml(sandbox_url: str) -> str:
    """Return a revetl.yml with all mocked destinations."""
    destinations = {name: setup.destination(sandbox_url) for name, setup in setups().items()}
    return yaml.safe_dump({"destinations": destinations}, sort_keys=False)
