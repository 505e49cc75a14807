"""Files by fsspec: PUT writes a file, GET reads a file or lists a folder, HEAD checks for write access."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson

from revetl.delivery.transports import answer
from revetl.delivery.transports.failures import refusal
from revetl.errors import UsageError, nearest

_PACKAGES = {
    "file": ("fsspec", None),
    "memory": ("fsspec", None),
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "az": ("adlfs", "azure"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
    "sftp": ("paramiko", "sftp"),
    "ssh": ("paramiko", "sftp"),
}
"""By scheme: the package that writes there, and the extra of revetl that installs it."""

_FOLDERS = ("file", "sftp", "ssh", "memory")
"""Schemes where folders must be created; in object stores they are part of the name."""


class FileTransport(httpx.AsyncBaseTransport):
    """Sends requests to a file system. Files appear atomically: a local file gets its name once it is on
    disk, and an object exists once its upload is complete. Raises UsageError for an unknown scheme, and if
    its package is not installed."""

    def __init__(self, scheme: str, options: Mapping[str, Any]) -> None:
        if scheme not in _PACKAGES:
            raise UsageError(f"path: unknown scheme '{scheme}://'. {nearest(scheme, _PACKAGES)}")
        package, extra = _PACKAGES[scheme]
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"path: '{scheme}://' requires {package}, which is not installed. "
                f"Run `pip install 'revetl[{extra}]'`."
            )
        self._options = dict(options)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        return await asyncio.to_thread(self._carried, request, content)

    def _carried(self, request: httpx.Request, content: bytes) -> httpx.Response:
        try:
            store, path = self._store(request.url)
            if request.method == "PUT":
                _write(store, path, content)
                return answer(201)
            if request.method == "GET":
                return answer(200, _got(store, path))
            _ask(store, path)
            return answer(200)
        except Exception as error:  # each store's package has its own exceptions
            return refusal(error, request)

    def _store(self, url: httpx.URL) -> tuple[Any, str]:
        import fsspec

        user = f"{url.userinfo.decode()}@" if url.userinfo else ""
        place = user + url.netloc.decode() + url.path
        store, path = fsspec.core.url_to_fs(f"{url.scheme}://{place}", **self._options)
        return store, str(path)


def _write(store: Any, path: str, content: bytes) -> None:
    """Write a file, replacing an existing one."""
    folder, _, name = path.rpartition("/")
    if not _has_folders(store):
        store.pipe_file(path, content)
        return
    store.makedirs(folder, exist_ok=True)
    passing = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        if _is_local(store):
            with Path(passing).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(passing).replace(path)
            _keep(folder)
        else:
            store.pipe_file(passing, content)
            store.mv(passing, path)
    except BaseException:
        with suppress(Exception):
            store.rm_file(passing)
        raise


def _keep(folder: str) -> None:
    """Sync a folder's entries to disk; not every system supports that."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _got(store: Any, path: str) -> bytes:
    """Return the contents of a file, or the listing of a folder."""
    store.invalidate_cache()
    content: bytes = (
        store.cat_file(path) if store.isfile(path) else orjson.dumps({"files": _listed(store, path)})
    )
    return content


def _listed(store: Any, path: str) -> list[dict[str, Any]]:
    """List the complete files of a folder, by name."""
    folder = path.rstrip("/")
    found = store.ls(folder, detail=True) if store.exists(folder) else []
    files = [(each["name"].rsplit("/", 1)[-1], each["size"]) for each in found if each["type"] == "file"]
    return [{"name": name, "bytes": size} for name, size in sorted(files) if not name.startswith((".", "_"))]


def _ask(store: Any, path: str) -> None:
    """Raise an error if nothing can be written: a folder without permission, or a missing bucket."""
    if _is_local(store):
        folder = next(each for each in (Path(path), *Path(path).parents) if each.exists())
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, f"no permission to write to {folder}")
    elif not _has_folders(store):
        store.ls(path.split("/", 1)[0])
    else:
        store.ls("/")


def _names(store: Any) -> tuple[str, ...]:
    protocol = store.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _is_local(store: Any) -> bool:
    return "file" in _names(store)


def _has_folders(store: Any) -> bool:
    return not set(_FOLDERS).isdisjoint(_names(store))
