"""Credentials as people paste them, into every destination: they are stripped, or refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from revetl.config.jinja import render
from revetl.destinations import TYPES, destination_class, make_destination
from revetl.errors import UsageError
from revetl.sandbox.setups import setups

PLACE = "revetl.yml: destinations.tool"
NAMES = [name for name in setups() if name not in ("file", "sql")]


def config_of(name: str) -> dict[str, Any]:
    return setups()[name].destination("http://127.0.0.1:1")


def secret_keys(name: str) -> list[str]:
    """The secrets of a setup that are texts."""
    config = config_of(name)
    keys = destination_class(config["type"], "").secret_names()
    return [key for key in keys if isinstance(config.get(key), str)]


def test_every_type_that_is_reached_by_http_is_here() -> None:
    assert {config_of(name)["type"] for name in NAMES} == set(TYPES) - {"file", "sql"}


@pytest.mark.parametrize("end", ["\n", " \r\n"], ids=repr)
@pytest.mark.parametrize("name", NAMES)
def test_a_secret_with_a_line_break_at_its_end_is_stripped(
    name: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(name)
    given = {key: config[key] + end for key in secret_keys(name)}
    made = make_destination({**config, **given}, PLACE)
    values = [getattr(made, key) for key in given]
    assert [each.get_secret_value() for each in values if isinstance(each, SecretStr)] == [
        config[key].strip() for key in given
    ]
    assert not any(sign in value for value in made.headers().values() for sign in "\r\n")


@pytest.mark.parametrize(
    "secret", ["k\u00f6y-of-ada", "key\nof-ada", "key\u200bof-ada", "key\u2013of-ada"], ids=ascii
)
@pytest.mark.parametrize("name", NAMES)
def test_a_secret_that_no_header_can_hold_is_refused_by_name_and_not_shown(name: str, secret: str) -> None:
    """Where it is in a body, in an address or in Base64, any character may be in it."""
    for key in secret_keys(name):
        try:
            made = make_destination({**config_of(name), key: secret}, PLACE)
        except UsageError as error:
            said = str(error)
            assert said.startswith(f"{PLACE}.{key}: "), said
            assert (secret in said, "of-ada" in said) == (False, False)
        else:
            assert all(value.isascii() and value.isprintable() for value in made.headers().values())


def test_a_header_of_ones_own_is_checked_too() -> None:
    config = {"type": "webhook", "url": "https://a.example", "headers": {"X-Api-Key": "k\u00f6y"}}
    with pytest.raises(UsageError) as error:
        make_destination(config, PLACE)
    assert str(error.value) == (
        f"{PLACE}.extra_headers.X-Api-Key: contains the character U+00F6, which HTTP headers do not allow. "
        "Copy the credential again: it may have been truncated, joined with another line, or changed by "
        "an editor."
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_user_and_a_password_in_an_address_are_refused_and_not_shown(name: str) -> None:
    config = {
        key: value.replace("http://", "http://ada:s3cret@") if isinstance(value, str) else value
        for key, value in config_of(name).items()
    }
    with pytest.raises(UsageError) as error:
        make_destination(config, PLACE)
    assert "the URL contains a user or password" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_a_line_break_at_the_end_of_an_environment_variable_is_none_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOOK", "https://a.example/x\r\n")
    assert render("{{ env_var('HOOK') }}", "here") == "https://a.example/x"
