"""What `revetl debug` asks of a destination, over every connector that has a read-only call."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from revetl.delivery.connection_check import probed
from revetl.destinations import make_destination
from revetl.errors import DestinationRefused
from revetl.sandbox.setups import setups
from tests.helpers.http import JsonHandler, LoopbackServer


class _Refusing(JsonHandler):
    """Refuses whatever is asked, as Google and Meta word it."""

    def do_GET(self) -> None:  # noqa: N802
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        error = {"code": 401, "status": "UNAUTHENTICATED", "message": "no such token"}
        self.answer(401, {"error": error})

    do_POST = do_HEAD = do_GET  # noqa: N815


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    """The address of a server that takes no credentials."""
    with LoopbackServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", sorted(setups()))
def test_credentials_that_are_refused_fail_the_check(name: str, refusing: str) -> None:
    setup = setups()[name]
    destination = make_destination({**setup.destination(refusing), "retries": 0}, name)
    if not destination.can_probe:
        assert probed(destination).startswith("not checked")
        return
    with pytest.raises(DestinationRefused, match=r"401|no such token"):
        probed(destination)
