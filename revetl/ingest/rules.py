"""Validation of messages, as SQL over the columns of a parsed file.

The rules are those of Segment's spec (common fields, and fields of each call). An invalid message is stored
with the first reason that applies.
"""

from __future__ import annotations

from revetl.ingest.raw_tables import MESSAGE_TABLES

TEXT_FIELDS = (
    "type",
    "messageId",
    "userId",
    "anonymousId",
    "event",
    "name",
    "category",
    "groupId",
    "previousId",
)
TIME_FIELDS = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
OBJECT_FIELDS = ("properties", "traits", "context")
ID_FIELDS = ("messageId", "userId", "anonymousId", "groupId", "previousId")
FIELDS = (*TEXT_FIELDS, *TIME_FIELDS, *OBJECT_FIELDS)

SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""What DuckDB's `trim` removes: the space separators of Unicode."""

ISO_8601 = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*(Z|z|[+-]\d{2}(:?\d{2})?)?)?$"


def text(field: str) -> str:
    """Return SQL for a field as trimmed text; null if blank."""
    return f"nullif(trim(\"{field}\"), '')"


def document(field: str) -> str:
    """Return SQL for a field as a JSON object. PHP writes an empty object as `[]`."""
    return f"case when json_type(\"{field}\") = 'ARRAY' then cast('{{}}' as json) else \"{field}\" end"


def traits() -> str:
    """Return SQL for the traits of an identify message. RudderStack's SDKs send them only in the context."""
    given = document("traits")
    in_context = "json_extract(\"context\", '$.traits')"
    return f"""case
        when coalesce(cast({given} as varchar), 'null') not in ('null', '{{}}') then {given}
        when json_type({in_context}) = 'OBJECT' then {in_context} else {given}
    end"""


def moment(field: str) -> str:
    """Return SQL for a timestamp in UTC; null if invalid. The connection's time zone must be UTC."""
    # DuckDB casts the zone 'Z' only in upper case, and the year 0000 to one before Christ.
    return (
        f"case when regexp_matches(trim(\"{field}\"), '{ISO_8601}') and trim(\"{field}\") not like '0000%' "
        f"then try_cast(upper(trim(\"{field}\")) as timestamptz) at time zone 'UTC' end"
    )


def reason() -> str:
    """Return SQL for the reason why a message is invalid; null if it is valid."""
    names = ", ".join(MESSAGE_TABLES)
    types = ", ".join(f"'{name}'" for name in MESSAGE_TABLES)
    cases = [
        (
            f"{text('type')} is null",
            f"'type is missing; expected one of {names}'",
        ),
        (
            f"type not in ({types})",
            f"'type ''' || left(type, 40) || ''' is not known; expected one of {names}'",
        ),
        (
            f"{text('userId')} is null and {text('anonymousId')} is null",
            "'neither userId nor anonymousId is there'",
        ),
        (f"type = 'track' and {text('event')} is null", "'a track message needs an event'"),
        (f"type = 'group' and {text('groupId')} is null", "'a group message needs a groupId'"),
        (f"type = 'alias' and {text('previousId')} is null", "'an alias message needs a previousId'"),
    ]
    cases += [
        (
            f"nullif(\"{field}\", '') is not null and {moment(field)} is null",
            f"'{field} ''' || left(\"{field}\", 40) || ''' is not an ISO 8601 time'",
        )
        for field in TIME_FIELDS
    ]
    cases += [
        (
            f"\"{field}\" is not null and json_type(\"{field}\") not in ('OBJECT', 'NULL') "
            f'and not (json_type("{field}") = \'ARRAY\' and json_array_length("{field}") = 0)',
            f"'{field} is not an object but ' || lower(json_type(\"{field}\"))",
        )
        for field in OBJECT_FIELDS
    ]
    whens = "\n".join(f"when {condition} then {sentence}" for condition, sentence in cases)
    return f"case {whens} end"


def landed_columns(table: str) -> dict[str, str]:
    """Return the raw table's columns as SQL over a parsed file and the parameters `$now`, the loading time,
    and `$source`, the source of the messages."""
    received = f"coalesce({moment('receivedAt')}, $now)"
    original, sent = moment("originalTimestamp"), moment("sentAt")
    # Segment: timestamp = receivedAt - (sentAt - originalTimestamp) corrects the sender's clock.
    corrected = f"case when {moment('receivedAt')} is not null then {received} - ({sent} - {original}) end"
    columns = {
        "id": f"coalesce({text('messageId')}, fallback_id)",
        "user_id": text("userId"),
        "anonymous_id": text("anonymousId"),
        "context": document("context"),
        "timestamp": f"coalesce({moment('timestamp')}, {corrected}, {original}, {sent}, {received})",
        "original_timestamp": original,
        "sent_at": sent,
        "received_at": received,
        "uuid_ts": "$now",
        "source_id": "cast($source as varchar)",
    }
    own = {
        "tracks": {
            "event": snake_case("event"),
            "event_text": text("event"),
            "properties": document("properties"),
        },
        "identifies": {"traits": traits()},
        "pages": {"name": text("name"), "category": text("category"), "properties": document("properties")},
        "screens": {"name": text("name"), "category": text("category"), "properties": document("properties")},
        "groups": {"group_id": text("groupId"), "traits": document("traits")},
        "aliases": {"previous_id": text("previousId")},
    }
    return columns | own[table]


def snake_case(field: str) -> str:
    """Return SQL to convert an event's name as Segment's warehouses do: `Order Completed` and
    `orderCompleted` to `order_completed`."""
    humps = f"regexp_replace(trim(\"{field}\"), '([a-z0-9])([A-Z])', '\\1_\\2', 'g')"
    return f"nullif(trim(regexp_replace(lower({humps}), '[^a-z0-9]+', '_', 'g'), '_'), '')"
