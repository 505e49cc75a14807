"""Sign-ins that `revetl auth` has stored: docs/how-to/signing-in.md.

Each is a file with mode 0600 in a folder with mode 0700. Its tokens are in the file, or in the system's
keyring where that was chosen; the file then holds the rest, so that they can be listed without the keyring.
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
"""The environment variable that names the folder of sign-ins."""
_SERVICE = "revetl"
_VERSION = 1
_SUFFIX = ".json"

Place = Literal["file", "keyring"]


@dataclass(frozen=True)
class Tokens:
    """The secret part of a sign-in. `secret` is that of a token of OAuth 1.0a. `expires_at` is in seconds
    since 1970, as the provider named it."""

    access_token: str
    refresh_token: str | None = None
    secret: str | None = None
    expires_at: float | None = None


@dataclass(frozen=True)
class SignIn:
    """Who signed in to what. `settings` are the keys of the destination's configuration that the provider
    named, such as the address of the account."""

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
        """Its tokens."""
        held = (self.tokens.access_token, self.tokens.refresh_token, self.tokens.secret)
        return tuple(each for each in held if each)


def folder_of_sign_ins() -> Path:
    """The folder of this user's sign-ins."""
    if named := os.environ.get(FOLDER):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "revetl" / "sign-ins"


class SignIns:
    """The sign-ins of a dbt project, by the name of the destination. Checkouts of one project share them."""

    def __init__(self, project: str, folder: Path | None = None) -> None:
        self.project = project
        self.folder = folder or folder_of_sign_ins()

    def path(self, destination: str) -> Path:
        """The file of a sign-in."""
        return self.folder / f"{_safe(self.project)}.{_safe(destination)}{_SUFFIX}"

    def lock(self, destination: str) -> Lock:
        """The lock to hold while a sign-in is replaced. Raises DiskError where the folder cannot be made."""
        self._make_folder()
        return lock(self.path(destination).with_suffix(".lock"))

    def names(self) -> Iterator[str]:
        """The destinations that there are sign-ins of."""
        prefix = f"{_safe(self.project)}."
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            if path.name.startswith(prefix):
                yield unquote(path.name.removeprefix(prefix).removesuffix(_SUFFIX))

    def read(self, destination: str, *, tokens: bool = True) -> SignIn | None:
        """The sign-in of a destination, or None; without `tokens`, the keyring is not asked for them. Raises
        UsageError for a file that others may read, that cannot be read, or whose tokens are not in the
        keyring."""
        path = self.path(destination)
        again = f"Run `revetl auth {destination}` to sign in again."
        try:
            if (mode := readable_by_others(path)) is not None:
                raise UsageError(
                    f"{path}: others may read it (mode {mode}), and it holds tokens. Run `chmod 600 {path}`; "
                    f"if anyone else has access to this machine, `revetl auth {destination} --remove` and "
                    "sign in again."
                )
            held: Any = orjson.loads(path.read_bytes())
            if held["version"] != _VERSION:
                raise UsageError(f"{path}: was written by another version of revetl. {again}")
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
            raise UsageError(f"{path}: is not a sign-in that can be read. {again}") from None

    def write(self, sign_in: SignIn) -> None:
        """Store a sign-in, with its lock held. Raises DiskError when it could not be, and UsageError for a
        keyring that does not take it."""
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
                f"{path} could not be written ({error.strerror or error}), and the new tokens of "
                f"{sign_in.destination} are lost with it. Make room or correct its permissions, and run "
                f"`revetl auth {sign_in.destination}`."
            ) from None

    def remove(self, destination: str) -> bool:
        """Forget a sign-in, with its lock held. Whether there was one."""
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
            raise DiskError(f"{path} could not be removed ({error.strerror or error}). Remove it.") from None
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
    """A name as a part of a file's; the dot divides the two parts."""
    return quote(name, safe=" ").replace(".", "%2E")


def has_keyring() -> bool:
    """Whether the library is installed, and has a keyring to use on this system."""
    try:
        import keyring
        from keyring.backends import fail, null
    except ImportError:
        return False
    return not isinstance(keyring.get_keyring(), fail.Keyring | null.Keyring)


def _from_keyring(entry: str, again: str) -> str:
    """Raises UsageError where the keyring does not give it."""
    try:
        import keyring
    except ImportError:
        raise UsageError(
            "The sign-in is in the keyring, which needs a library. Run `pip install 'revetl[keyring]'`."
        ) from None
    try:
        found = keyring.get_password(_SERVICE, entry)
    except keyring.errors.KeyringError as error:
        raise UsageError(f"The keyring cannot be read ({error}). Unlock it. {again}") from None
    if found is None:
        raise UsageError(f"The keyring has no '{entry}' of '{_SERVICE}'. {again}")
    return found


def _to_keyring(entry: str, text: str) -> None:
    try:
        import keyring
    except ImportError:
        raise UsageError(
            "--store keyring needs a library. Run `pip install 'revetl[keyring]'`, or use --store file."
        ) from None
    try:
        keyring.set_password(_SERVICE, entry, text)
    except keyring.errors.KeyringError as error:
        raise UsageError(f"The keyring does not take it ({error}). Unlock it, or use --store file.") from None
    except Exception as error:
        # Windows refuses what is longer than 2,560 bytes, by an error of its own API.
        kind = type(error).__name__
        raise UsageError(f"The keyring does not take it ({kind}). Use --store file.") from None


def _out_of_keyring(entry: str) -> None:
    try:
        import keyring
    except ImportError:
        return
    with suppress(keyring.errors.KeyringError):
        keyring.delete_password(_SERVICE, entry)
