"""Events, properties and traits that no message has are a warning of `validate` and of `plan`."""

from __future__ import annotations

import json
import os
import time

import pytest

from revetl.inspect.unseen_names import unseen_names
from tests.conftest import Cli
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people

PLACE = "models/vips.sql: vips"


def shop(project: ProjectFolder, sql: str, *, empty: bool = False) -> ProjectFolder:
    """The audience vips by some SQL, two events of a page and a shop, and profiles without a phone."""
    none = " limit 0" if empty else ""
    project.sql(
        """create or replace table stg_revetl__tracks as
        select 'Order Completed' as event_text,
            '{"total": 5, "products": [{"name": "x"}]}'::json as properties
        union all select 'Product Viewed', '{"price": 1}'::json"""
        + none
    )
    project.sql(
        "create or replace table stg_revetl__pages as select 'Pricing' as name, '{}'::json as properties"
        + none
    )
    project.sql(
        'create or replace table stg_revetl__identifies as select \'{"mobile": "+1"}\'::json as traits'
    )
    project.sql("create or replace table revetl_profiles as select 'a' as email, null::varchar as mobil")
    project.audience("vips", people(("u1", 1)), {**META})
    for name in ("stg_revetl__tracks", "stg_revetl__pages", "stg_revetl__identifies", "revetl_profiles"):
        project.declare(name, {"key": "x"})
    path = project.root / "target" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for node in manifest["nodes"].values():
        if node["name"] == "vips":
            node["raw_code"] = sql
        else:
            del node["config"]["meta"]["revetl"]
    path.write_text(json.dumps(manifest))
    later = time.time() + 5
    os.utime(path, (later, later))
    return project


def found(project: ProjectFolder) -> list[str]:
    workspace = project.open().workspace
    warehouse = workspace.warehouse(read_only=True)
    try:
        return unseen_names(workspace, warehouse)
    finally:
        warehouse.close()


UNSEEN: dict[str, tuple[str, str]] = {
    "an event": (
        "{{ revetl.did('Order Complted') }}",
        f"{PLACE}: no track has the name 'Order Complted'. Did you mean 'Order Completed'?",
    ),
    "an event that was not done": (
        "{{ revetl.did_not(event='order completed', within='7 days') }}",
        f"{PLACE}: no track has the name 'order completed'. Did you mean 'Order Completed'?",
    ),
    "a step": (
        "{{ revetl.did_in_order(['Product Viewed', {'event': 'Order Compleet'}], within='7 days') }}",
        f"{PLACE}: no track has the name 'Order Compleet'. Did you mean 'Order Completed'?",
    ),
    "a page": (
        "{{ revetl.did('Prizing', source='page') }}",
        f"{PLACE}: no page has the name 'Prizing'. Did you mean 'Pricing'?",
    ),
    "a property": (
        "{{ revetl.did('Order Completed', where='properties.totl > 3') }}",
        f"{PLACE}: no 'Order Completed' has the property 'totl'. Did you mean 'total'?",
    ),
    "a property of elements": (
        "{{ revetl.did('Order Completed', where={'property': 'product[].name', 'equals': 'x'}) }}",
        f"{PLACE}: no 'Order Completed' has the property 'product'. Did you mean 'products'?",
    ),
    "a trait": (
        "{{ revetl.trait('mobil', 'exists') }}",
        f"{PLACE}: nobody has the trait 'mobil'. Did you mean 'mobile'?",
    ),
    "an event in SQL": (
        "select * from {{ ref('tracks') }} where event_text in ('Order Completed', 'Ordr Completed')",
        f"{PLACE}: no track has the name 'Ordr Completed'. Did you mean 'Order Completed'?",
    ),
}


@pytest.mark.parametrize(("sql", "sentence"), UNSEEN.values(), ids=UNSEEN.keys())
def test_a_name_that_no_message_has(project: ProjectFolder, sql: str, sentence: str) -> None:
    assert found(shop(project, sql)) == [sentence]


SEEN = (
    "{{ revetl.did('Order Completed', where='properties.total > 3') }}",
    "{{ revetl.did(['Order Completed', 'Product Viewed'], where=[{'property': 'products[].name'}]) }}",
    "{{ revetl.did(var('event'), where=var('where')) }} and {{ revetl.trait('email', 'exists') }}",
    "{% for name in ['a', 'b'] %}{{ revetl.did(name) }}{% endfor %}",
    "select 1 {# {{ revetl.did('Nothing') }} #}",
    "{% macro unfinished",
    "{{ revetl.trait('nothing_like_it') }}",
)


@pytest.mark.parametrize("sql", SEEN)
def test_what_is_seen_or_cannot_be_known_is_not_warned_of(project: ProjectFolder, sql: str) -> None:
    assert found(shop(project, sql)) == []


def test_without_messages_no_name_is_wrong(project: ProjectFolder) -> None:
    assert found(shop(project, "{{ revetl.did('Order Complted') }}", empty=True)) == []


def test_the_projects_own_traits(project: ProjectFolder) -> None:
    traits = {
        "orders": {"type": "count", "event": "Order Complted"},
        "spent": {"type": "sum", "event": "Order Completed", "property": "totl"},
    }
    path = project.root / "dbt_project.yml"
    path.write_text(path.read_text() + "  traits: " + json.dumps(traits) + "\n")
    at = "dbt_project.yml: vars.revetl.traits"
    assert found(shop(project, "select 1")) == [
        f"{at}.orders: no track has the name 'Order Complted'. Did you mean 'Order Completed'?",
        f"{at}.spent: no 'Order Completed' has the property 'totl'. Did you mean 'total'?",
    ]


def test_validate_and_plan_warn_and_go_on(project: ProjectFolder, cli: Cli) -> None:
    shop(project, "{{ revetl.did('Order Complted') }}")
    sentence = f"Warning: {PLACE}: no track has the name 'Order Complted'. Did you mean 'Order Completed'?"
    for command in (("validate",), ("plan", "vips")):
        done = cli(project, *command)
        assert (done.returncode, sentence in done.stderr.splitlines()) == (0, True), done.stderr
