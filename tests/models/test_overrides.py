"""A project's own models in the place of the package's, and parts that are switched off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models.guest import Guest

pytestmark = pytest.mark.slow

WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
TRACKS = """
select
    'm' || n as message_id, 'u' || n as user_id, cast(null as varchar) as anonymous_id,
    'order_completed' as event, 'Order Completed' as event_text,
    cast('{"total": 20, "mail": "ann@example.com"}' as json) as properties,
    timestamp '2026-01-01' + to_days(cast(n as integer)) as timestamp
    {more}
from (select 1 as n union all select 2) as numbers
"""
PROFILES = "select 'c1' as canonical_id, 'u1' as user_id, 7 as orders union all select 'c2', 'u2', 1"
BUYERS = """
{{ config(meta={'revetl': {'key': 'user_id'}}) }}
select profiles.user_id from {{ ref('revetl', 'revetl_profiles') }} as profiles
where {{ revetl.did('Order Completed') }}
"""
LOYAL = """
select profiles.user_id from {{ ref('revetl', 'revetl_profiles') }} as profiles
where {{ revetl.trait('orders', '>', 5, of='profiles') }}
"""


def model(guest: Guest, name: str, text: str) -> None:
    (guest.folder / "models" / f"{name}.sql").write_text(text)


def test_own_staging_stands_in_the_place_of_the_packages(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "project")
    model(guest, "acme_tracks", TRACKS.replace("{more}", ", 'kept' as extra"))
    model(guest, "buyers", BUYERS)
    total = {"type": "sum", "event": "Order Completed", "property": "total", "data_type": "bigint"}
    guest.variables(overrides={"stg_revetl__tracks": "acme_tracks"}, traits={"spent": total})
    guest.dbt("build", *WITHOUT_TESTS)
    ask = guest.backend.sql
    assert ask("select message_id, extra, source_id from stg_revetl__tracks order by all") == [
        ("m1", "kept", None),
        ("m2", "kept", None),
    ]
    assert ask("select user_id, spent from revetl_profiles order by all") == [("u1", 20), ("u2", 20)]
    assert ask("select user_id from buyers order by all") == [("u1",), ("u2",)]
    quality = ask("select event, message_count from revetl_event_quality order by day")
    assert quality == [] or {row[0] for row in quality} == {"Order Completed"}


@pytest.mark.long
def test_own_profiles_need_no_identity_of_ours(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "project")
    model(guest, "acme_profiles", "{{ config(materialized='table') }} " + PROFILES)
    model(guest, "loyal", LOYAL)
    guest.variables(overrides={"revetl_profiles": "acme_profiles"})
    guest.dbt("run", "--select", "acme_profiles", "revetl_profiles", "loyal")
    assert guest.backend.sql("select user_id from loyal") == [("u1",)]
    assert guest.backend.sql("select canonical_id, last_seen_at from revetl_profiles order by all") == [
        ("c1", None),
        ("c2", None),
    ]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (
        {"stg_tracks": "acme_tracks"},
        "stg_tracks cannot be replaced; these can: stg_revetl__tracks",
    ),
    "columns": (
        {"stg_revetl__pages": "acme_tracks"},
        "acme_tracks, which stands in the place of stg_revetl__pages (dbt_project.yml: "
        "vars.revetl.overrides), "
        "has no column name, category. It must have message_id, user_id, anonymous_id, timestamp, name",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_stand_in_is_refused_with_what_is_missing(tmp_path: Path, case: str) -> None:
    overrides, sentence = REFUSED[case]
    guest = Guest(tmp_path / "project")
    model(guest, "acme_tracks", "{{ config(materialized='table') }} " + TRACKS.replace("{more}", ""))
    guest.variables(overrides=overrides)
    code = 2 if case == "unknown" else 1
    said = guest.dbt("run", "--select", "acme_tracks", "stg_revetl__pages", exit_code=code)
    assert sentence in " ".join(said.split())


OFF = {
    "membership": {"revetl_audience_membership", "revetl_audience_growth", "revetl_experiment_lift"},
    "experiments": {"revetl_experiment_members", "revetl_experiment_lift"},
    "delivery": {"revetl_delivery_runs", "revetl_delivered_members", "revetl_privacy_lag"},
    "protocols": {"revetl_tracking_plan_violations", "revetl_event_quality"},
}
NO_IDENTITY: dict[str, Any] = {
    "intermediate": {name: {"+enabled": False} for name in ("identity", "profiles", "traits")},
    "marts": {
        "identity": {"+enabled": False},
        "traits": {"+enabled": False},
        "profiles": {
            name: {"+enabled": False}
            for name in ("revetl_mtu_monthly", "revetl_accounts", "revetl_account_members")
        },
    },
}
"""As docs/how-to/overrides.md has it."""


@pytest.mark.long
@pytest.mark.parametrize("part", [*OFF, "all of them", "identity"])
def test_a_project_without_a_part_is_built(tmp_path: Path, part: str) -> None:
    guest = Guest(tmp_path / "project")
    variables: dict[str, Any] = {"parts": {part: False}, "order_traits": None}
    if part == "all of them":
        variables = {"parts": dict.fromkeys(OFF, False), "order_traits": None}
    if part == "identity":
        model(guest, "acme_profiles", "{{ config(materialized='table') }} " + PROFILES)
        overrides = {"revetl_profiles": "acme_profiles"}
        guest.without(NO_IDENTITY, overrides=overrides, parts={"experiments": False})
    else:
        guest.variables(**variables)
    guest.dbt("build", "--exclude-resource-type", "unit_test")
    found = guest.tables()["main"]
    off = set().union(*OFF.values()) if part == "all of them" else OFF.get(part, {"revetl_events"})
    assert not off & found
    assert {"revetl_profiles", "stg_revetl__tracks", "vips"} <= found
    changes = guest.backend.sql("select count(*) from main_revetl.audience_changes")
    assert changes == [(0 if part in ("membership", "all of them") else 2,)]
