"""Sign-ins stored by `revetl auth`: docs/how-to/signing-in.md.

Each is a file with mode 0600 in a folder with mode 0700. Tokens are in the file, or in the system keyring if
chosen; the file then holds everything else, so that sign-ins can be listed without the keyring.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

import orjson

from revetl.errors import DiskError, UsageError
from revetl.local.interprocess import Lock, lock
from revetl.local.private_files import make_private_folder, readable_by_others, write_private

FOLDER = "REVETL_SIGN_INS"
"""The environment variable for the folder of sign-ins."""
_SERVICE = "revetl"
_VERSION = 1
_SUFFIX = ".json"

Place = Literal["file", "keyring"]


@dataclass(frozen=True)
class Tokens:
    """The secret part of a sign-in. `secret` belongs to OAuth 1.0a tokens. `expires_at` is the provider's
    expiry, in seconds since 1970."""

    access_token: str
    refresh_token: str | None = None
    secret: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True)
class SignIn:
    """A stored sign-in to a destination. `settings` are keys of the destination's configuration that the
    provider returned, such as the address of the account."""

    project: str
    destination: str
    type: str
    client_id: str
    token_url: str
    signed_in_at: str
    kept_in: Place
    tokens: Tokens
    scopes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return its tokens."""
        held = (self.tokens.access_token, self.tokens.refresh_token, self.tokens.secret)
        return tuple(each for each in held if each)


def folder_of_sign_ins() -> Path:
    """Return the folder of this user's sign-ins."""
    if named := os.environ.get(FOLDER):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "revetl" / "sign-ins"


class SignIns:
    """The sign-ins of a dbt project, by destination name. All checkouts of a project share them."""

    def __init__(self, project: str, folder: Path | None = None) -> None:
        self.project = project
        self.folder = folder or folder_of_sign_ins()

    def path(self, destination: str) -> Path:
        """Return the path of a sign-in."""
        return self.folder / f"{_safe(self.project)}.{_safe(destination)}{_SUFFIX}"

    def lock(self, destination: str) -> Lock:
        """Return the lock to hold while replacing a sign-in. Raises DiskError if the folder can't be
        created."""
        self._make_folder()
        return lock(self.path(destination).with_suffix(".lock"))

    def names(self) -> Iterator[str]:
        """Yield the names of destinations with a sign-in."""
        prefix = f"{_safe(self.project)}."
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if path.name.startswith(prefix):
                yield unquote(path.name.removeprefix(prefix).removesuffix(_SUFFIX))

    def read(self, destination: str, *, tokens: bool = True) -> SignIn | None:
        """Return the sign-in of a destination, or None; without `tokens`, the keyring is not read. Raises
        UsageError if the file is readable by others, cannot be read, or its tokens are missing from the
        keyring."""
        path = self.path(destination)
        again = f"Run `revetl auth {destination}` to sign in again."
        try:
            if (mode := readable_by_others(path)) is not None:
                raise UsageError(
                    f"{path}: contains tokens and is readable by others (mode {mode}). Run `chmod 600 "
                    f"{path}`; "
                    f"if anyone else has access to this machine, run `revetl auth {destination} --remove` "
                    "and "
                    "sign in again."
                )
            held: Any = orjson.loads(path.read_bytes())
            if held["version"] != _VERSION:
                raise UsageError(f"{path}: was written by a different version of revetl. {again}")
            about = {name: held[name] for name in _ABOUT}
            kept = held["tokens"] if tokens else {"access_token": ""}
            if tokens and held["kept_in"] == "keyring":
                kept = orjson.loads(_from_keyring(self._entry(destination), again))
            return SignIn(
                **about, scopes=tuple(held["scopes"]), settings=held["settings"], tokens=Tokens(**kept)
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror or error}). {again}") from None
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise UsageError(f"{path}: is not a valid sign-in file. {again}") from None

    def write(self, sign_in: SignIn) -> None:
        """Store a sign-in; the caller holds its lock. Raises DiskError if writing fails, and UsageError if
        the keyring rejects it."""
        self._make_folder()
        path = self.path(sign_in.destination)
        held = {**asdict(sign_in), "version": _VERSION}
        if sign_in.kept_in == "keyring":
            text = orjson.dumps(held.pop("tokens")).decode()
            _to_keyring(self._entry(sign_in.destination), text)
            held["tokens"] = None
        try:
            write_private(path, orjson.dumps(held, option=orjson.OPT_INDENT_2).decode() + "\n")
        except OSError as error:
            raise DiskError(
                f"cannot write {path} ({error.strerror or error}), so the new tokens of "
                f"{sign_in.destination} are lost. Free disk space or fix the permissions, then run "
                f"`revetl auth {sign_in.destination}`."
            ) from None

    def remove(self, destination: str) -> bool:
        """Delete a sign-in; the caller holds its lock. Returns whether it existed."""
        path = self.path(destination)
        in_keyring = False
        with suppress(OSError, orjson.JSONDecodeError, AttributeError):
            in_keyring = orjson.loads(path.read_bytes()).get("kept_in") == "keyring"
        if in_keyring:
            _out_of_keyring(self._entry(destination))
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise DiskError(
                f"cannot remove {path} ({error.strerror or error}). Delete it yourself."
            ) from None
        return True

    def _entry(self, destination: str) -> str:
        return f"{self.project}.{destination}"

    def _make_folder(self) -> None:
        try:
            make_private_folder(self.folder)
        except OSError as error:
            raise DiskError(
                f"{self.folder} cannot be used ({error.strerror or error}). Set {FOLDER} to a folder that "
                "only you can read."
            ) from None


_ABOUT = ("project", "destination", "type", "client_id", "token_url", "signed_in_at", "kept_in")


def _safe(name: str) -> str:
    """Encode a name as part of a file name; the dot separates the two parts."""
    return quote(name, safe=" ").replace(".", "%2E")


def has_keyring() -> bool:
    """Whether the keyring library is installed and this system has a usable keyring."""
    try:
        import keyring
        from keyring.backends import fail, null
    except ImportError:
        return False
    return not isinstance(keyring.get_keyring(), fail.Keyring | null.Keyring)


def _from_keyring(entry: str, again: str) -> str:
    """Read tokens from the keyring. Raises UsageError if it has none or cannot be read."""
    try:
        import keyring
    except ImportError:
        raise UsageError(
            "The sign-in is in the keyring, which needs the keyring library. Run `pip install "
            "'revetl[keyring]'`."
        ) from None
    try:
        found = keyring.get_password(_SERVICE, entry)
    except keyring.errors.KeyringError as error:
        raise UsageError(f"The keyring cannot be read ({error}). Unlock it. {again}") from None
    if found is None:
        raise UsageError(f"The keyring has no entry '{entry}' for '{_SERVICE}'. {again}")
    return found


def _to_keyring(entry: str, text: str) -> None:
    try:
        import keyring
    except ImportError:
        raise UsageError(
            "--store keyring needs the keyring library. Run `pip install 'revetl[keyring]'`, or use --store "
            "file."
        ) from None
    try:
        keyring.set_password(_SERVICE, entry, text)
    except keyring.errors.KeyringError as error:
        raise UsageError(
            f"The keyring rejected the tokens ({error}). Unlock it, or use --store file."
        ) from None
    except Exception as error:
        # Windows rejects entries longer than 2,560 bytes with an error of its own API.
        kind = type(error).__name__
        raise UsageError(f"The keyring rejected the tokens ({kind}). Use --store file.") from None


def _out_of_keyring(entry: str) -> None:
    try:
        import keyring
    except ImportError:
        return
    with suppress(keyring.errors.KeyringError):
        keyring.delete_password(_SERVICE, entry)
