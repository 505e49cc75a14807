"""Decode request bodies: what the bytes are decides, because clients label them wrongly."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from revetl.ingest.repairs import repaired

_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_LONGEST_QUERY_PATH = 16
_NUMBER_OF_FIELDS = 500


class BodyTooLarge(Exception):
    """A body is above the limit, after decompression."""


class BadBody(Exception):
    """A body is neither JSON nor gzipped JSON. The message says why."""


def decompressed(raw: bytes, largest: int) -> bytes:
    """Return a body, decompressed if it is gzip. Raises BodyTooLarge, BadBody."""
    if len(raw) > largest:
        raise BodyTooLarge
    if not raw.startswith(_GZIP):
        return raw
    made, rest = bytearray(), raw
    try:
        while rest.startswith(_GZIP):
            stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            made += stream.decompress(rest, largest + 1 - len(made))
            if len(made) > largest:
                raise BodyTooLarge
            if not stream.eof:
                raise BadBody("the body is incomplete gzip")
            rest = stream.unused_data
    except zlib.error:
        raise BadBody("the body is not valid gzip") from None
    return bytes(made)


def parse_json(body: bytes) -> Any:
    """Parse JSON, and what SDKs write in its place: NaN, lone surrogates, invalid UTF-8. Raises BadBody."""
    body = body.removeprefix(_BOM)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return orjson.loads(repaired(body.decode("utf-8", "replace")))
    except (orjson.JSONDecodeError, RecursionError):
        raise BadBody("the body is not JSON") from None


def read_pixel(query: str) -> dict[str, Any]:
    """Return the message of a pixel's query: `data` in Base64, or fields by dotted names. Raises BadBody."""
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=_NUMBER_OF_FIELDS)
    except ValueError:
        raise BadBody("the query has too many fields") from None
    message: dict[str, Any] = {}
    if (data := dict(fields).get("data")) is not None:
        found = parse_json(_from_base64(data))
        if not isinstance(found, dict):
            raise BadBody("data is not a JSON object")
        message = found
    for name, value in fields:
        if name != "data":
            _put(message, name.split("."), value)
    return message


def _from_base64(text: str) -> bytes:
    standard = text.strip().replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadBody("data is not Base64") from None


def _put(message: dict[str, Any], names: list[str], value: str) -> None:
    """Set the value at a path, except inside of another value."""
    if len(names) > _LONGEST_QUERY_PATH:
        return
    inside = message
    for name in names[:-1]:
        found = inside.setdefault(name, {})
        if not isinstance(found, dict):
            return
        inside = found
    inside[names[-1]] = value


def basic_user(header: str) -> str | None:
    """Return the write key of an `Authorization` header: the user of Basic, whose colon is optional, or a
    bearer token."""
    scheme, _, value = header.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value or None
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value + "=" * (-len(value) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    return text.partition(":")[0].strip() or None


def key_in_body(body: Any) -> str | None:
    """Return the write key in a body: its own, or its first message's."""
    if not isinstance(body, Mapping):
        return None
    batch = body.get("batch")
    for each in (body, *(batch[:1] if isinstance(batch, list) else ())):
        key = each.get("writeKey") if isinstance(each, Mapping) else None
        if isinstance(key, str) and key:
            return key
    return None
