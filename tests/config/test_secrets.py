"""Secrets from files and from the system's keyring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

from revetl.config.jinja import render
from revetl.errors import UsageError


class InMemory(KeyringBackend):
    """keyring's own interface over a dictionary, as no system's keyring is open where tests run."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring() -> Iterator[InMemory]:
    before = keyring.get_keyring()
    mine = InMemory()
    keyring.set_keyring(mine)
    yield mine
    keyring.set_keyring(before)


def test_secrets_from_a_file_and_from_the_keyring(tmp_path: Path, ring: InMemory) -> None:
    (tmp_path / "key").write_text("from the file\n")
    keyring.set_password("braze", "api_key", "from the ring")
    written: dict[str, Any] = {
        "a": f"{{{{ file('{tmp_path}/key') }}}}",
        "b": ["{{ keyring('braze', 'api_key') }}"],
    }
    assert render(written, "here") == {"a": "from the file", "b": ["from the ring"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ file('/no/such') }}", "here.key: cannot read /no/such"),
        ("{{ keyring('braze', 'no') }}", "the keyring has no 'no' for 'braze'. Run `keyring set braze no`."),
        ("{{ env_var('REVETL_NO') }}", "environment variable REVETL_NO is not set. Export it."),
        (
            "{{ open('x') }}",
            "Only env_var('NAME'), file('PATH') and keyring('SERVICE', 'NAME') are available here.",
        ),
    ],
)
def test_a_missing_secret_is_an_error_with_its_name(text: str, says: str, ring: InMemory) -> None:
    with pytest.raises(UsageError) as error:
        render({"key": text}, "here")
    assert says in str(error.value)


def test_a_plan_needs_no_secrets(ring: InMemory) -> None:
    assert render("{{ file('/no/such') }} {{ keyring('a', 'b') }}", "key", placeholders=True) == "<such> <b>"
