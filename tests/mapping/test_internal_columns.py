"""Internal columns are only sent if they are mapped explicitly."""

from __future__ import annotations

from typing import Any

import pytest

from revetl.config.models import SyncConfig
from revetl.destinations import TYPES
from revetl.mapping.fields import make_mapping
from tests.conftest import SandboxClient
from tests.destinations.test_identifiers import destination_of
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people, synced

SENT_OF: dict[str, tuple[str, str]] = {
    "revetl_profiles": (
        "canonical_id anonymous_id email email_set_at country country_set_at first_seen_at last_seen_at ltv",
        "anonymous_id email country first_seen_at last_seen_at ltv",
    ),
    "in capitals, as Snowflake has them": ("CANONICAL_ID EMAIL EMAIL_SET_AT LTV", "EMAIL LTV"),
    "revetl_computed_traits": ("canonical_id unfit_traits order_count", "order_count"),
    "int_revetl__event_traits": (
        "profile_node canonical_id as_of unfit_traits made_by order_count",
        "order_count",
    ),
    "int_revetl__identity_graph": (
        "identifier_id identifier_type identifier_value canonical_id node_id profile_node first_seen_at",
        "identifier_type identifier_value first_seen_at",
    ),
    "revetl_accounts": (
        "name industry plan first_seen_at member_count",
        "name industry plan first_seen_at member_count",
    ),
    "revetl_account_members": (
        "account_id canonical_id joined_at message_count",
        "account_id joined_at message_count",
    ),
    "revetl_experiment_members": (
        "experiment canonical_id variant entered_at",
        "experiment variant entered_at",
    ),
    "revetl_audience_membership": ("entered_at left_at recorded_at", "entered_at left_at"),
    "revetl_trait_history": (
        "canonical_id trait value dbt_scd_id dbt_updated_at dbt_valid_from dbt_valid_to",
        "trait value",
    ),
    "stg_revetl__identifies": (
        "message_id anonymous_id timestamp is_clock_ahead received_at loaded_at source_id",
        "message_id anonymous_id timestamp received_at source_id",
    ),
    "a project's own columns of such names": (
        "as_of made_by loaded_at recorded_at price_set_at",
        "as_of made_by loaded_at recorded_at price_set_at",
    ),
}
"""By model, the columns of an audience made of it, and those that a sync without `fields` sends."""

FREE = [kind for kind in sorted(TYPES) if destination_of(kind).takes_other_fields]


def mapped(kind: str, columns: str, **sync: Any) -> list[str]:
    """The columns that a sync to a type of destination sends as fields."""
    destination = destination_of(kind)
    there = dict.fromkeys(["user_id", *columns.split()], "VARCHAR")
    mode = next(each for each in ("upsert", "mirror", "events") if each in destination.modes())
    event = {"event": "Seen"} if mode == "events" else {}
    identifiers = {destination.known_by[0].name: "user_id"}
    config = SyncConfig.model_validate(
        {"to": kind, "mode": mode, "identifiers": identifiers, **event, **sync}
    )
    made = make_mapping("user_id", config, destination, there, "meta")
    return [next(iter(item.columns)) for item in made.fields]


@pytest.mark.parametrize("kind", FREE)
def test_internal_columns_are_sent_by_no_default(kind: str) -> None:
    # It requires these to create a record.
    needed = [each.column for each in destination_of(kind).declared if each.required]
    for model, (columns, sent) in SENT_OF.items():
        there = " ".join(dict.fromkeys([*columns.split(), *needed]))
        assert sorted(mapped(kind, there)) == sorted({*sent.split(), *needed}), model


@pytest.mark.parametrize("kind", FREE)
def test_an_internal_column_that_is_mapped_is_sent(kind: str) -> None:
    required = {each.name: "user_id" for each in destination_of(kind).declared if each.required}
    fields = {**required, "profile": "canonical_id", "since": "email_set_at"}
    sent = mapped(kind, "canonical_id email email_set_at", fields=fields)
    assert {"canonical_id", "email_set_at"} <= set(sent)


def test_a_state_of_an_older_version_that_has_internal_columns_stops_nothing_and_sends_nobody_again(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    rows = people(("u1", "c1", 1), ("u2", "c2", 2), columns="user_id, canonical_id, score")
    before = {"to": "crm", "fields": {"canonical_id": "canonical_id", "score": "score"}}
    project.audience("vips", rows, {"key": "user_id", "sync": [before]})
    synced(project)
    assert sandbox.members("crm", "vips")["u1"] == {"canonical_id": "c1", "score": 1}
    project.audience("vips", rows, {"key": "user_id", "sync": [{"to": "crm"}]})
    run = synced(project)
    assert (run.status, sum(run.planned.values())) == ("success", 0)
    project.audience("vips", people(("u1", "c9", 1), ("u2", "c2", 3), columns="user_id, canonical_id, score"))
    assert synced(project).delivered["update"] == 1
