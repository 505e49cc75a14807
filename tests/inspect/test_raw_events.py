"""Events in a schema that the project no longer reads, as `validate` and `debug` warn of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.conftest import Cli
from tests.helpers.project import ProjectFolder


def reads(project: ProjectFolder, raw_schema: str | None) -> None:
    """Have the project read raw events from a schema; None for the default."""
    document = yaml.safe_load((project.root / "dbt_project.yml").read_text())
    variables: dict[str, Any] = document["vars"]["revetl"]
    variables.pop("raw_schema", None)
    if raw_schema is not None:
        variables["raw_schema"] = raw_schema
    (project.root / "dbt_project.yml").write_text(yaml.safe_dump(document))
    project.write_manifest()


def land(project: ProjectFolder, raw_schema: str | None) -> None:
    reads(project, raw_schema)
    file = project.root / "one.ndjson"
    file.write_text('{"type": "track", "messageId": "m1", "userId": "u1", "event": "E"}\n')
    project.open().load([file])


def stage(project: ProjectFolder) -> None:
    """Have the target's last build staged a message."""
    entry = {"key": "message_id", "sync": [{"to": "crm"}]}
    project.audience("stg_revetl__tracks", "select 'm1' as message_id", entry)


@pytest.mark.parametrize("command", ["validate", "debug"])
def test_another_raw_schema_than_the_events_are_in_is_warned_of(
    project: ProjectFolder, cli: Cli, command: str
) -> None:
    project.audience("vips", "select 'u1' as user_id", {"key": "user_id", "sync": [{"to": "crm"}]})
    land(project, None)
    reads(project, "events")
    done = cli(project, command)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert (
        "Warning: No event is in schema 'events', which target 'dev' reads, and schema 'main_raw' has some."
    ) in said
    assert "set raw_schema: main_raw under vars.revetl in dbt_project.yml" in said
    land(project, "events")
    assert "Warning" not in cli(project, command).stderr + cli(project, command).stdout


def test_any_schema_is_found_once_the_models_have_messages(project: ProjectFolder, cli: Cli) -> None:
    land(project, "landed")
    reads(project, None)
    project.audience("vips", "select 'u1' as user_id", {"key": "user_id", "sync": [{"to": "crm"}]})
    assert "Warning" not in cli(project, "validate").stderr
    stage(project)
    assert "and schema 'landed' has some" in cli(project, "validate").stderr


def test_events_of_another_target_are_not_taken_for_those_of_this_one(
    project: ProjectFolder, cli: Cli
) -> None:
    profiles = yaml.safe_load((project.root / "profiles.yml").read_text())
    outputs = profiles["shop"]["outputs"]
    outputs["prod"] = {**outputs["dev"], "schema": "prod"}
    (project.root / "profiles.yml").write_text(yaml.safe_dump(profiles))
    land(project, "prod_raw")
    reads(project, None)
    stage(project)
    assert "Warning" not in cli(project, "validate").stderr


def test_tables_of_another_loader_are_not_taken_for_raw_events(project: ProjectFolder, cli: Cli) -> None:
    project.sql("create schema main_raw")
    project.sql("create table main_raw.tracks as select 'm1' as id, 'u1' as user_id")
    stage(project)
    assert "Warning" not in cli(project, "validate").stderr
