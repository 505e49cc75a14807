"""An SFTP server of a folder, on loopback, for as long as it is wanted."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko

USER, PASSWORD = "revetl", "letmein"


class _Door(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        well = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if well else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED


def _server_of(root: Path) -> type[paramiko.SFTPServerInterface]:
    def told(done: Any) -> int:
        try:
            done()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return paramiko.SFTP_OK

    class Server(paramiko.SFTPServerInterface):
        def _at(self, path: str) -> Path:
            return root / path.lstrip("/")

        def list_folder(self, path: str) -> Any:
            found = []
            for each in self._at(path).iterdir():
                about = paramiko.SFTPAttributes.from_stat(each.stat())
                about.filename = each.name
                found.append(about)
            return found

        def stat(self, path: str) -> Any:
            try:
                return paramiko.SFTPAttributes.from_stat(self._at(path).stat())
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno or 0)

        lstat = stat

        def open(self, path: str, flags: int, attr: Any) -> Any:
            try:
                number = os.open(self._at(path), flags, 0o600)
            except OSError as error:
                return paramiko.SFTPServer.convert_errno(error.errno or 0)
            file = os.fdopen(number, "wb" if flags & (os.O_WRONLY | os.O_RDWR) else "rb")
            handle = paramiko.SFTPHandle(flags)
            handle.readfile = handle.writefile = file
            return handle

        def remove(self, path: str) -> int:
            return told(self._at(path).unlink)

        def posix_rename(self, oldpath: str, newpath: str) -> int:
            return told(lambda: self._at(oldpath).replace(self._at(newpath)))

        def mkdir(self, path: str, attr: Any) -> int:
            return told(self._at(path).mkdir)

    return Server


@contextmanager
def running_sftp(root: Path) -> Iterator[int]:
    """Serve a folder; gives the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    key = paramiko.RSAKey.generate(2048)
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _server_of(root))
            transport.start_server(server=_Door())
            transports.append(transport)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()
        for each in transports:
            each.close()
