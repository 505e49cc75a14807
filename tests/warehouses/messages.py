"""Messages that engines take differently, as rows of the raw tables: what is made of them is equal on all.

Documents are JSON as text; moments are in UTC, without a zone. `MESSAGES` is table to rows, each with every
column of the table; `MORE_MESSAGES` and `GONE` are what a second load adds and erases; `CUTS` and `BLOCKED`
are rows of the seeds. The project is to be built as of `AS_OF`.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

Row = dict[str, Any]

AS_OF = "2011-07-01"

COLUMNS = {
    "tracks": ("event", "event_text", "properties"),
    "identifies": ("traits",),
    "pages": ("name", "category", "properties"),
    "screens": ("name", "category", "properties"),
    "groups": ("group_id", "traits"),
    "aliases": ("previous_id",),
}
"""The columns that a table has of its own."""


MOMENTS = {"timestamp", "original_timestamp", "sent_at", "received_at", "uuid_ts"}
SOURCES = ("web", "büro", None)


class Landed:
    """Rows of the raw tables, received in the order in which they are written here."""

    def __init__(self, first: str) -> None:
        self.tables: dict[str, list[Row]] = {table: [] for table in COLUMNS}
        self.received = datetime.fromisoformat(first)

    def land(self, table: str, message_id: str, at: str | None, **columns: Any) -> None:
        """Add a row; what is not a text, nor null, is a document."""
        self.received += timedelta(seconds=1)
        moment = None if at is None else datetime.fromisoformat(at)
        row: Row = dict.fromkeys(
            (
                "id",
                "user_id",
                "anonymous_id",
                "context",
                *COLUMNS[table],
                "timestamp",
                "original_timestamp",
                "sent_at",
            )
        )
        row |= {"id": message_id, "timestamp": moment, "received_at": self.received, "uuid_ts": self.received}
        row["source_id"] = SOURCES[self.received.second % len(SOURCES)]
        for name, value in columns.items():
            documents = isinstance(value, dict | list)
            row[name] = json.dumps(value, ensure_ascii=False) if documents else value
        unknown = set(row) - {"id", "user_id", "anonymous_id", "context", *COLUMNS[table]}
        assert unknown == MOMENTS | {"source_id"}, unknown
        self.tables[table].append(row)

    def order(self, message_id: str, user: str | None, at: str, properties: Any, **columns: Any) -> None:
        """Add an order."""
        self.land(
            "tracks",
            message_id,
            at,
            user_id=user,
            event="order_completed",
            event_text="Order Completed",
            properties=properties,
            **columns,
        )

    def view(self, message_id: str, user: str | None, at: str, properties: Any, **columns: Any) -> None:
        """Add a view of a product."""
        self.land(
            "tracks",
            message_id,
            at,
            user_id=user,
            event="product_viewed",
            event_text="Product Viewed",
            properties=properties,
            **columns,
        )

    def identify(self, message_id: str, user: str | None, at: str, traits: Any, **columns: Any) -> None:
        """Add an identify message."""
        self.land("identifies", message_id, at, user_id=user, traits=traits, **columns)


TOTALS = [
    # As text, since what a number is written as is a part of the case.
    '"12.50"', '" 7 "', '"\\t8\\n"', '"1e3"', "1e3", "1E-3", '"0x10"', '"NaN"', '"Infinity"', '"-Infinity"',
    '"1,000"', '"1_000"', '"1 000"', '"+5"', '".5"', '"5."', '"."', '"-"', '""', '"12abc"', '"1e"',
    '"1e400"', '"1e-400"', '"99999999999999.9999"', '"99999999999999.99995"',
    '"123456789012345678901234567890"', "123456789012345678901234567890", "0.00005", "-0.00005", "0.00004",
    "1.00005", "2.675", "10.10", '"-0.0"', "true", "null", "[1]", '{"amount": 1}', '"\\u0661"', '"1.2.3"',
    '"--1"', "0.1", "1234567.8901",
]  # fmt: skip
"""What an order's total may be; most are no numbers."""

PRODUCTS = [
    "null", "[]", "{}", '"none"', "5", "[null]", '[1, "a", true, [{"name": "inner"}]]',
    '[{"name": null}, {"sku": 1}]', '[{"name": "  "}, {"name": ""}]',
    '[{"name": "Zebra"}, {"name": "apple"}, {"name": "éclair"}, {"name": "_x"}]',
    '[{"name": "Banana"}, {"name": "apple"}]', '[{"name": "\\ud83d\\ude00 mug"}, {"name": "\\uffe5 note"}]',
    '[{"name": " tea "}, {"name": "tea"}, {"name": "coffee"}]', '[{"name": 1.50}]', '[{"name": 12}]',
    '[{"name": true}]', '[{"name": "it\'s \\"so\\" \\\\ 100%"}]', '[{"name": "two\\nlines"}]',
]  # fmt: skip
"""What an order's products may be."""

TIES = ["a", "B", "é", "Z", "_", "1", "\U0001f600", "\uffe5", "aa", "A", "ß"]
"""Texts whose order by code point is none of a language's."""


def _people(landed: Landed) -> None:
    """Who is who: blanks, case, emoji, blocked values, ties of the same moment."""
    landed.identify("p1", "u1", "2011-01-01 10:00:00", {"email": "Ann@Example.com", "first_name": "Ann"})
    landed.identify("p2", " u1 ", "2011-01-02 10:00:00", {"email": " ann@example.com\u00a0"})
    landed.identify(
        "p3", "U1", "2011-01-02 10:00:00", {"email": "ÉLODIE@EXAMPLE.COM", "country": "Österreich"}
    )
    landed.identify(
        "p4",
        "u\U0001f600",
        "2011-01-03 10:00:00",
        {"email": "élodie@example.com", "firstName": "É\U0001f600"},
    )
    landed.identify(
        "p5", "u\t", "2011-01-03 10:00:00", {"email": "tab@example.com", "last_name": "O'Neil \\ 100%"}
    )
    landed.identify("p6", "", "2011-01-03 10:00:00", {"email": "", "first_name": ""}, anonymous_id="a1")
    landed.identify(
        "p7", "  ", "2011-01-03 10:00:00", {"email": None, "first_name": None}, anonymous_id="\u3000a1"
    )
    landed.identify("p8", None, "2011-01-03 10:00:00", {}, anonymous_id="A1")
    landed.identify("p9", "NULL", "2011-01-04 10:00:00", {"email": "n/a"}, anonymous_id=" Anonymous ")
    landed.identify("p10", "0000", "2011-01-04 10:00:00", {"email": "none@example.com"}, anonymous_id="0-0")
    landed.identify("p11", "u11", "2011-01-04 10:00:00", {"email": "blocked@example.com"})
    landed.identify("p12", "u12", "2011-01-04 10:00:00", {"email": "blocked@example.com"})
    for number, name in enumerate(TIES):
        # The last trait that was said, and the first identifier of a profile, are a tie of all of them.
        landed.identify(
            name, "tied", "2011-02-01 00:00:00", {"email": "tied@example.com", "first_name": f"from {name}"}
        )
        landed.land(
            "pages",
            f"page-{number}",
            "2011-02-02 00:00:00.123456",
            anonymous_id=name,
            user_id=f"t{number % 3}",
        )
    for number in range(7):
        landed.identify(
            f"shared-{number}",
            f"s{number}",
            f"2011-02-0{number + 1} 12:00:00",
            {"email": "kiosk@example.com"},
        )
        landed.identify(
            f"many-{number}", "many", "2011-02-10 12:00:00", {"email": f"many{number}@example.com"}
        )


def _unseen(landed: Landed) -> None:
    """Identifiers among characters that nobody sees, numbers in two spellings, and what programs write where
    nothing is known."""
    ids = ["x1", "\tx1\r\n", "\ufeffx1\u200b", "\x1fx1\u2028", "\u2060x\u200b1", "\u0085x1", "\x7fx1"]
    ids += [
        "777",
        "777.0",
        "777.00",
        "-777.0",
        "0777.0",
        "7.77",
        "98765432109876543210.0",
        "98765432109876543210",
    ]
    ids += [
        "[object Object]",
        "NaN",
        '"null"',
        "#REF!",
        "{}",
        "[]",
        "True",
        '{"id": 1}',
        "{1-2}",
        "1.2E+18",
        "1e5",
    ]
    for number, each in enumerate(ids):
        landed.identify(
            f"unseen-{number}",
            each,
            f"2011-05-20 00:00:{number:02}",
            {"email": f"{each}@example.com"},
            anonymous_id=f"unseen {number % 9}",
        )
        landed.land(
            "groups", f"unseen-g{number}", "2011-05-21 00:00:00", user_id="u1", group_id=each, traits={}
        )
    values = [
        "777.0",
        "{}",
        "[]",
        "true",
        '{"a": 1}',
        '["x1"]',
        "12345678901234567890123",
        "1.50",
        '"\\u200b"',
        '"N/A"',
    ]
    for number, value in enumerate(values):
        landed.identify(f"kind-{number}", "777", f"2011-05-22 00:00:{number:02}", f'{{"email": {value}}}')


def _documents(landed: Landed) -> None:
    """Traits that are no text, and documents that are no objects."""
    values = [
        "12",
        "1.0",
        "1.10",
        "-5",
        "12345678901234567890",
        "true",
        "false",
        "null",
        '""',
        '" "',
        '"null"',
    ]
    for number, value in enumerate(values):
        document = f'{{"email": "d{number}@example.com", "phone": {value}, "country":{value}}}'
        landed.identify(f"d{number}", f"d{number}", "2011-03-01 00:00:00", document)
    kinds: list[str | None] = ["null", "[]", '"text"', "1", '["email"]', "true", None]
    for number, kind in enumerate(kinds):
        landed.identify(f"n{number}", f"n{number}", "2011-03-02 00:00:00", kind, context=kind)
        landed.view(f"v{number}", f"n{number}", "2011-06-28 00:00:00", kind, context=kind)
    landed.identify("both", "both", "2011-03-02 00:00:00", {"first_name": "snake", "firstName": "camel"})
    landed.identify(
        "escaped",
        "escaped",
        "2011-03-02 00:00:00",
        '{"email": "\\u0065sc@example.com", "first_name": "\\u00e9\\/"}',
    )
    landed.identify(
        "long", "long", "2011-03-02 00:00:00", {"first_name": "x" * 10_000, "last_name": "\U0001f600" * 300}
    )
    landed.identify("kept", "both", "2011-03-03 00:00:00", {"first_name": None, "country": ""})


def _orders(landed: Landed) -> None:
    """Totals and products of every kind, averages and rhythms that end on a half, and moments far off."""
    for number, total in enumerate(TOTALS):
        landed.order(f"total-{number}", f"o{number}", "2011-04-01 00:00:00", f'{{"total": {total}}}')
        landed.view(f"price-{number}", f"o{number}", "2011-06-29 00:00:00", f'{{"price": {total}}}')
    for number, products in enumerate(PRODUCTS):
        landed.order(
            f"products-{number}",
            f"b{number}",
            "2011-04-02 00:00:00",
            f'{{"total": 1, "products": {products}}}',
        )
    for number in range(40):
        # Sums of cents over two and three orders; days and minutes apart.
        user, cents = f"r{number}", 1001 + 7 * number
        for order in range(2 + number % 2):
            moment = datetime(2011, 1, 1) + timedelta(minutes=(order + 1) ** 2 * (432 + 36 * number))
            landed.order(
                f"half-{number}-{order}", user, str(moment), {"total": cents / 100 if order == 0 else 0}
            )
    landed.land("tracks", "refund", "2011-05-01 00:00:00", user_id="r1", event="order_refunded",
                event_text="Order Refunded", properties={"total": "10000.005"})  # fmt: skip
    for number, at in enumerate(["1970-01-01 00:00:00", "1970-01-02 00:00:00", "2011-06-30 23:59:59.999999"]):
        landed.order(f"far-{number}", f"far{number // 2}", at, {"total": 6000})
    # The hours that clocks in Europe and America leave out or have twice, the end of a day, and the very end.
    hours = [
        "2011-03-13 02:30",
        "2011-03-27 01:00",
        "2011-03-27 01:30",
        "2011-03-27 02:30",
        "2010-10-31 01:30",
    ]
    hours += ["2010-10-31 02:00", "2011-06-30 23:59:59", "2011-07-01 00:00"]
    for number, at in enumerate(hours):
        landed.order(f"clock-{number}", "clock", at, {"total": 0.1})
        landed.view(f"clock-view-{number}", "clock", at, {"price": "100.0001"})
    for number in range(101):
        # A sum that fits no column of two decimals.
        landed.order(f"rich-{number}", "rich", "2011-04-03 00:00:00", {"total": 99999999999999})
    # Clocks that are ahead of when the message was received.
    for number, at in enumerate(["2087-01-01 00:00:00", "2011-06-10 12:00:00", "2011-06-10 11:00:00"]):
        received = datetime(2011, 6, 10, 10) if number else datetime(2011, 6, 1)
        landed.order(f"ahead-{number}", "ahead", at, {"total": 1}, received_at=received)
    landed.order("ahead-never", "ahead", "2087-01-01 00:00:00", {"total": 1}, received_at=None, uuid_ts=None)
    landed.order("later", "clock", "2011-07-01 00:00:00.000001", {"total": 1000})
    landed.view("week", "u1", "2011-06-24 00:00:00", {"price": 101})
    landed.view("this-week", "u12", "2011-06-24 00:00:00.000001", {"price": 100.0001})


def _deliveries(landed: Landed) -> None:
    """One message, delivered more than once."""
    landed.order("twice", "twice", "2011-05-02 00:00:00", {"total": 1})
    landed.order("twice", "twice", "2011-05-02 00:00:00", {"total": 2})
    landed.order("early", "twice", "2011-05-03 00:00:00", {"total": 4})
    landed.order("early", "twice", "2011-05-03 00:00:00", {"total": 8}, received_at=datetime(2011, 5, 3))
    landed.order("unreceived", "twice", "2011-05-04 00:00:00", {"total": 16}, received_at=None)
    landed.order("unreceived", "twice", "2011-05-04 00:00:00", {"total": 32})
    # Ids that are one in other alphabets of case are two.
    landed.order("Case", "twice", "2011-05-05 00:00:00", {"total": 64})
    landed.order("case", "twice", "2011-05-05 00:00:00", {"total": 128})
    landed.order("case ", "twice", "2011-05-05 00:00:00", {"total": 256})
    landed.order(
        "\U0001f600", "twice", "2011-05-05 00:00:00", {"total": 512, "products": [{"name": "\U0001f600"}]}
    )


def _ties(landed: Landed) -> None:
    """Pages, screens, groups and aliases."""
    device = {"device": {"id": "D1", "advertisingId": "AAAA-BBBB"}, "ip": None}
    landed.land("screens", "screen-1", "2011-05-01 00:00:00", anonymous_id="m1", name="Home", context=device)
    landed.land("screens", "screen-2", "2011-05-01 00:00:00", user_id="m2", context={"device": None})
    landed.land("screens", "screen-3", "2011-05-02 00:00:00", user_id="m2", context={"device": [device]})
    landed.land("pages", "page-a", "2011-05-01 00:00:00", anonymous_id="m1", user_id="m2", properties={})
    for number, group in enumerate(["acme", " acme ", "ACME", "NULL", "", "0", "größe\U0001f600"]):
        traits = {"name": f"name {number}", "plan": None if number else "gold", "industry": 1.0}
        landed.land(
            "groups",
            f"g{number}",
            f"2011-05-0{number + 1} 00:00:00",
            user_id="u1",
            group_id=group,
            traits=traits,
        )
    for name in TIES:
        landed.land(
            "groups",
            f"g-{name}",
            "2011-05-09 00:00:00",
            user_id="tied",
            group_id="acme",
            traits={"name": name},
        )
    # An anonymous id, a user id, a chain, a loop, itself, and one that was never seen.
    aliases = [
        ("m1", "m3"),
        ("s0", "s1"),
        ("s1", "s2"),
        ("s2", "s0"),
        ("u1", "u1"),
        ("never", "u12"),
        ("null", "u12"),
    ]
    for number, (previous, user) in enumerate(aliases):
        landed.land("aliases", f"alias-{number}", "2011-05-10 00:00:00", user_id=user, previous_id=previous)
    for number in range(6):
        # Somebody on two devices is two until there is a user id: then the two profiles become one, by any of
        # three messages of one moment.
        walk, phone = f"w{number}", f"w{number}-"
        landed.land("pages", f"seen-{number}", f"2011-06-0{number + 1} 01:00:00", anonymous_id=f"{phone}1")
        landed.land("pages", f"Seen-{number}", f"2011-06-0{number + 1} 02:00:00", anonymous_id=f"{phone}2")
        landed.identify(
            f"known-{number}", walk, f"2011-06-0{number + 1} 03:00:00", {}, anonymous_id=f"{phone}1"
        )
        for name in ("b", "B", "é"):
            at = f"2011-06-0{number + 1} 04:00:00"
            landed.identify(
                f"{name}-{number}", walk, at, {"email": f"{walk}@example.com"}, anonymous_id=f"{phone}2"
            )
    landed.identify("w-met-w", "w0", "2011-06-20 00:00:00", {"email": "w1@example.com"})
    landed.identify("cut-1", "c1", "2011-05-11 00:00:00", {"email": "cut@example.com"})
    landed.identify("cut-2", "c2", "2011-05-12 00:00:00", {"email": "cut@example.com"}, anonymous_id="c3")


def _first() -> dict[str, list[Row]]:
    landed = Landed("2011-07-02 00:00:00")
    for part in (_people, _unseen, _documents, _orders, _deliveries, _ties):
        part(landed)
    return landed.tables


def _second() -> dict[str, list[Row]]:
    landed = Landed("2011-07-03 00:00:00")
    # Two profiles become one; a person is new; a late message makes another identifier the oldest.
    landed.identify("joined", "r3", "2011-06-01 00:00:00", {"email": "ann@example.com"})
    landed.identify(
        "new", "new", "2011-06-02 00:00:00", {"email": "New@Example.com"}, anonymous_id="\U0001f600"
    )
    landed.identify("late", None, "2009-01-01 00:00:00", {"email": "esc@example.com"})
    # Delivered again, later and earlier than it was.
    landed.order("total-0", "o0", "2011-04-01 00:00:00", {"total": 77})
    landed.order("half-0-0", "r5", "2011-04-01 00:00:00", {"total": 78}, received_at=datetime(2011, 4, 1))
    landed.order(
        "more", "r0", "2011-06-03 00:00:00", {"total": "0.005", "products": [{"name": "b"}, {"name": "B"}]}
    )
    landed.land("aliases", "alias-more", "2011-06-04 00:00:00", user_id="d1", previous_id="d2")
    landed.land(
        "groups", "g-more", "2011-06-05 00:00:00", user_id="d1", group_id="acme", traits={"plan": "silver"}
    )
    return landed.tables


MESSAGES = _first()
MORE_MESSAGES = _second()
GONE = {
    "identifies": ["p2", "shared-3", "\U0001f600"],
    "tracks": ["half-1-1", "case", "far-0"],
    "aliases": ["alias-1"],
    "pages": ["page-3"],
}
"""Table to the ids of messages that are erased."""

BLOCKED = [("email", "blocked@example.com", "a test's")]
"""identifier_type, identifier_value, reason."""

CUTS = [
    ("user_id", "c1", "user_id", "c2", datetime(2011, 6, 1), "two people"),
    ("user_id", "tied", "email", "tied@example.com", None, None),
    ("user_id", "s1", "user_id", "s2", datetime(2011, 6, 1), "twins"),
]
"""left_type, left_value, right_type, right_value, cut_at, reason."""
