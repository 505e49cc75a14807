#!/bin/sh
# One would guess that a transport for httpx sends the address that httpx was given, as httpx's own transport does.
# It is so that httpx-aiohttp passes the address on as text, and aiohttp (yarl) quotes it once more by rules of its
# own: `%2F`, `%3F` and `%40` of a query arrive as `/`, `?` and `@`. Servers that decode the query see no difference.
# It matters here where a signature covers the query as text (HMAC of the raw query), and because errors show the
# address in the other quoting: a secret that was looked for as it had been quoted was not found, and not redacted.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q httpx==0.28.1 httpx-aiohttp==0.2.0 aiohttp==3.14.5 yarl==1.25.1
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
from importlib.metadata import version

import httpx
from httpx_aiohttp import AiohttpTransport

GIVEN = "/v1/users?cursor=a%2Fb%3Fc%40d%3De"


async def main() -> dict[str, str]:
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.split(b" ")[1].decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{GIVEN}"
    for transport in (httpx.AsyncHTTPTransport(), AiohttpTransport()):
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            await client.get(url)
    server.close()
    return dict(zip(("httpx", "httpx-aiohttp"), seen, strict=True))


sent = asyncio.run(main())
for name in ("httpx", "httpx-aiohttp", "aiohttp", "yarl"):
    print(name, version(name))
print("given        ", GIVEN)
for name, path in sent.items():
    print(f"{name:13}", path)
assert sent["httpx"] == GIVEN
assert sent["httpx-aiohttp"] == "/v1/users?cursor=a/b?c@d%3De"
PYTHON
