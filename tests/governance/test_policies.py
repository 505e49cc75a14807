"""What is done about a violation, by event, source and target: the same in Python and in the macro that dbt
reads."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from jinja2 import Environment

from revetl.errors import UsageError
from revetl.governance.tracking_plan import (
    Checker,
    Enforcer,
    TrackingPlan,
    read_plan,
)
from revetl.governance.tracking_plan.compiled import compile_plan, macro_text
from revetl.governance.tracking_plan.plan import DOCUMENTS
from revetl.governance.tracking_plan.policy import TargetNames, for_target
from revetl.governance.tracking_plan.simulate import Overrides, overridden
from revetl.project.scaffolding import make_project
from tests.conftest import Cli
from tests.governance.examples import plan_of
from tests.governance.test_compiled import Returned
from tests.governance.test_dbt import SAMPLES
from tests.governance.world import Message, without_omitted, worlds
from tests.helpers.built import ROOT
from tests.models.conftest import run_dbt

EVENT = "{name: A, properties: [{name: a, type: number}]}"
BLOCKING = "{name: A, on_violation: block, properties: [{name: a, type: number}]}"


def message(name: str = "m", event: str = "A", **properties: Any) -> Message:
    """A track message."""
    return {"type": "track", "messageId": name, "userId": name, "event": event, "properties": properties}


@pytest.mark.parametrize(
    ("plan", "source", "action"),
    [
        pytest.param(f"events: [{EVENT}]", None, "flag", id="flag by default"),
        pytest.param(f"{{on_violation: block, events: [{EVENT}]}}", None, "block", id="the plan"),
        pytest.param(f"{{on_violation: allow, events: [{BLOCKING}]}}", None, "block", id="the event wins"),
        pytest.param(
            f"{{sources: {{web: {{on_violation: block}}}}, events: [{EVENT}]}}",
            "web",
            "block",
            id="the source",
        ),
        pytest.param(
            f"{{sources: {{web: {{on_violation: block}}}}, events: [{EVENT}]}}",
            "app",
            "flag",
            id="another source",
        ),
        pytest.param(
            f"{{sources: {{web: {{on_violation: allow}}}}, events: [{BLOCKING}]}}",
            "web",
            "block",
            id="the event wins over the source",
        ),
        pytest.param(
            f"{{sources: {{web: {{events: {{A: allow}}}}}}, events: [{BLOCKING}]}}",
            "web",
            "allow",
            id="the event in the source wins over all",
        ),
    ],
)
def test_the_nearest_declaration_decides(plan: str, source: str | None, action: str) -> None:
    found = Enforcer(plan_of(plan)).enforce(message(a="x"), source)
    assert (found.action, found.message is None) == (action, action == "block")


def test_unplanned_events_and_properties_of_a_source() -> None:
    plan = plan_of(
        f"""
        unplanned_events: flag
        sources: {{web: {{unplanned_events: block, unplanned_properties: omit}}}}
        events: [{EVENT}]
        """
    )
    enforcer = Enforcer(plan)
    said = [
        (source, enforcer.enforce(each, source))
        for source in ("web", "app", None)
        for each in (message(event="B"), message(a=1, b=2))
    ]
    assert [
        (source, found.action, None if found.message is None else found.message["properties"])
        for source, found in said
    ] == [
        ("web", "block", None),
        ("web", "omit", {"a": 1}),
        ("app", "flag", {}),
        ("app", "allow", {"a": 1, "b": 2}),
        (None, "flag", {}),
        (None, "allow", {"a": 1, "b": 2}),
    ]


@settings(max_examples=100)
@given(world=worlds())
def test_a_message_is_blocked_or_loses_omitted_properties(
    world: tuple[TrackingPlan, list[Message]],
) -> None:
    plan, some = world
    checker, enforcer = Checker(plan), Enforcer(plan)
    for each in some:
        before = json.dumps(each)
        found = enforcer.enforce(each, each["source"])
        actions = {violation.action for violation in checker.check(each, each["source"])}
        assert (found.message is None) == ("block" in actions)
        if found.message is not None:
            assert found.message.get(DOCUMENTS[each["type"]]) == without_omitted(plan, each)
        assert json.dumps(each) == before


TEMPLATES = """
on_violation: "{{ 'block' if target.name == 'prod' else 'allow' }}"
unplanned_events: "{% if target.type == 'duckdb' %}flag{% else %}block{% endif %}"
sources: {"it's": {unplanned_properties: "{{ env_var('REVETL_UNPLANNED', 'omit') }}"}}
events: [{name: A, properties: [{name: a, type: number}]}]
"""


def target(name: str, kind: str = "duckdb") -> TargetNames:
    return TargetNames(name, kind, "shop", "main", None)


def from_the_macro(plan: TrackingPlan, names: TargetNames) -> Any:
    """What the compiled macro returns to dbt for a target."""

    def give(value: Any) -> None:
        raise Returned(value)

    def plan_action(action: str, _: str, valid: list[str]) -> str:
        assert action.strip() in valid
        return action.strip()

    def env_var(_: str, default: str) -> str:
        return default

    known = {"target": names, "env_var": env_var, "revetl": SimpleNamespace(plan_action=plan_action)}
    environment = Environment(extensions=["jinja2.ext.do"])
    template = environment.from_string(
        macro_text(plan) + "{% do default__tracking_plan() %}", {"return": give, **known}
    )
    with pytest.raises(Returned) as found:
        template.render()
    return found.value.args[0]


@pytest.mark.parametrize(
    ("names", "action", "unplanned"),
    [
        (target("prod"), "block", "flag"),
        (target("dev"), "allow", "flag"),
        (target("prod", "postgres"), "block", "block"),
    ],
    ids=lambda each: each.name + each.type if isinstance(each, TargetNames) else each,
)
def test_a_template_is_decided_by_the_target_in_python_and_in_dbt(
    names: TargetNames, action: str, unplanned: str
) -> None:
    plan = plan_of(TEMPLATES)
    decided = plan.resolved(for_target(names))
    assert (decided.on_violation, decided.unplanned_events, decided.has_templates) == (
        action,
        unplanned,
        False,
    )
    compiled = from_the_macro(plan, names)
    (document,) = compiled["documents"]
    assert compiled["unplanned_events"] == unplanned
    assert {rule["action"] for rule in document["rules"]} == {action}
    assert [each["action"] for each in document["closed"]] == [{"all": "allow", "sources": {"it's": "omit"}}]


def test_a_plan_without_templates_and_sources_is_compiled_as_before() -> None:
    assert [compile_plan(plan_of(text))["form"] for text in (f"events: [{EVENT}]", TEMPLATES)] == [1, 2]


def test_the_policies_of_the_docs_are_valid() -> None:
    text = (ROOT / "docs" / "how-to" / "tracking-plan.md").read_text()
    (block,) = [
        part.split("```")[0] for part in text.split("```yaml\n")[1:] if "\nsources:" in part.split("```")[0]
    ]
    plan = plan_of(block).resolved(for_target(target("prod")))
    (rules,) = plan.rules()
    assert str(rules.on_violation) == "block (new_app: flag)"
    assert str(rules.unplanned_properties) == "allow (web: omit)"


WRONG = {
    "an unknown action": (
        "on_violation: blok",
        "tracking_plan.yaml, line 1: on_violation: 'blok' is not known. Did you mean 'block'?",
    ),
    "an action of properties": (
        "on_violation: omit",
        "tracking_plan.yaml, line 1: on_violation: 'omit' is not known. There are: allow, block, flag.",
    ),
    "an unknown name in a template": (
        "\non_violation: \"{{ 'block' if node.name else 'flag' }}\"",
        "tracking_plan.yaml, line 2: on_violation: '{{ 'block' if node.name else 'flag' }}' uses node. Only "
        "target (as in target.name) and env_var('NAME') are available here.",
    ),
    "an event that is not planned": (
        f"events: [{EVENT}]\nsources: {{web: {{events: {{B: block}}}}}}",
        "tracking_plan.yaml, line 1: sources.web.events: 'B' is not in the plan. There are: A, group, "
        "identify, page, screen.",
    ),
    "a key of a source": (
        "sources: {web: {on_violations: block}}",
        "tracking_plan.yaml, line 1: sources.web.on_violations: unknown key 'on_violations'. Did "
        "you mean 'on_violation'?",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_an_invalid_policy_has_its_line_and_key(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "tracking_plan.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_plan(path)
    assert str(error.value) == sentence


def test_a_template_that_resolves_to_no_action_is_an_error() -> None:
    plan = plan_of('sources: {web: {on_violation: "{{ target.name }}"}}')
    with pytest.raises(UsageError) as error:
        plan.resolved(for_target(target("prod")))
    assert str(error.value) == (
        "tracking_plan.yaml: sources.web.on_violation: '{{ target.name }}' resolves to 'prod' for target "
        "'prod', but must resolve to one of block, flag, allow."
    )


def test_a_simulation_overrides_every_declaration() -> None:
    plan = plan_of(
        f"""
        on_violation: flag
        sources: {{web: {{on_violation: allow, events: {{A: flag}}}}, app: {{unplanned_properties: flag}}}}
        events: [{BLOCKING}]
        """
    )
    changed = overridden(plan, Overrides(on_violation="allow", unplanned_properties="omit"))
    (rules,) = changed.rules()
    assert (rules.on_violation, rules.unplanned_properties, changed.unplanned_events) == (
        "allow",
        "omit",
        "allow",
    )


def test_check_uses_the_source_and_the_target(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "dbt_project.yml").write_text("{name: shop, profile: shop}")
    (tmp_path / "message.json").write_text(json.dumps(message(a="x", b=1)))
    (tmp_path / "tracking_plan.yaml").write_text(TEMPLATES)
    outputs = {name: {"type": "duckdb", "path": "shop.duckdb"} for name in ("dev", "prod")}
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"shop": {"target": "dev", "outputs": outputs}}))

    def actions(*arguments: str) -> list[tuple[str, str]]:
        done = cli(tmp_path, "protocols", "check", "message.json", "-o", "json", *arguments)
        return [(each["path"], each["action"]) for each in json.loads(done.stdout)]

    assert actions() == []
    assert actions("--target", "prod") == [("a", "block")]
    assert actions("--target", "prod", "--source", "it's") == [("a", "block"), ("b", "omit")]


PLAN = """
on_violation: "{{ 'block' if target.name == 'prod' else 'flag' }}"
unplanned_events: flag
sources:
  web: {on_violation: block, unplanned_properties: omit}
  legacy: {on_violation: allow, events: {Order Refunded: block}}
events:
  - {name: Order Completed, properties: [{name: total, type: number, required: true}]}
  - {name: Order Refunded, on_violation: flag, properties: [{name: total, type: number, required: true}]}
"""


@pytest.mark.slow
@pytest.mark.long
def test_files_and_tables_are_judged_by_source_and_a_simulation_says_what_a_tighter_plan_would_block(
    tmp_path: Path, cli: Cli
) -> None:
    root = tmp_path / "shop"
    make_project(root)
    (root / "tracking_plan.yaml").write_text(PLAN)
    run_dbt(root / "shop.duckdb", "deps", project=root)
    for source in ("web", "legacy", "app"):
        some = [
            message(f"{source}1", "Order Completed", total=1, note="x"),
            message(f"{source}2", "Order Completed", total="1"),
            message(f"{source}3", "Order Refunded"),
            message(f"{source}4", "Other"),
        ]
        lines = [json.dumps({**each, "timestamp": "2026-01-02T03:04:05Z"}) for each in some]
        (root / f"{source}.ndjson").write_text("\n".join(lines))
        assert cli(root, "load", "--source", source, f"{source}.ndjson").returncode == 0
    assert cli(root, "protocols", "compile").returncode == 0
    staged = [f"stg_revetl__{name}" for name in ("tracks", "identifies", "groups", "pages", "screens")]
    words = [
        "--select",
        *SAMPLES,
        "revetl_tracking_plan_violations",
        *staged,
        "--exclude-resource-types",
        "test",
    ]
    run_dbt(root / "shop.duckdb", "build", *words, "unit_test", project=root)
    with duckdb.connect(str(root / "shop.duckdb"), read_only=True) as connection:
        violations = connection.execute(
            "select message_id, rule_name, action, source_id from revetl_tracking_plan_violations "
            "order by 1, 2"
        ).fetchall()
        kept = connection.execute(
            "select message_id, properties from stg_revetl__tracks order by 1"
        ).fetchall()
    assert violations == [
        ("app2", "type", "flag", "app"),
        ("app3", "required", "flag", "app"),
        ("app4", "unplanned_event", "flag", "app"),
        ("legacy3", "required", "block", "legacy"),
        ("legacy4", "unplanned_event", "flag", "legacy"),
        ("web1", "unplanned_property", "omit", "web"),
        ("web2", "type", "block", "web"),
        ("web3", "required", "flag", "web"),
        ("web4", "unplanned_event", "flag", "web"),
    ]
    assert [name for name, _ in kept] == [
        *("app1", "app2", "app3", "app4", "legacy1", "legacy2", "legacy4", "web1", "web3", "web4")
    ]
    assert json.loads(dict(kept)["web1"]) == {"total": 1}

    done = cli(root, "protocols", "simulate", "--on-violation", "block", "-o", "json")
    events = json.loads(done.stdout)["events"]
    names = ("event", "source", "messages", "blocked_now", "blocked", "omitted", "share_blocked")
    assert {tuple(each[name] for name in names) for each in events if each["event"] != "Other"} == {
        ("Order Completed", "app", 2, 0, 1, 0, 0.5),
        ("Order Completed", "legacy", 2, 0, 1, 0, 0.5),
        ("Order Completed", "web", 2, 1, 1, 1, 0.5),
        ("Order Refunded", "app", 1, 0, 1, 0, 1.0),
        ("Order Refunded", "legacy", 1, 1, 1, 0, 1.0),
        ("Order Refunded", "web", 1, 0, 1, 0, 1.0),
    }
    arguments = ("--on-violation", "block", "--source", "web", "--event", "Order Completed")
    done = cli(root, "protocols", "simulate", *arguments, "-o", "json")
    (event,) = json.loads(done.stdout)["events"]
    assert [(rule["rule"], rule["path"], rule["action"], rule["sample"]) for rule in event["rules"]] == [
        ("type", "total", "block", ["web2"]),
        ("unplanned_property", "note", "omit", ["web1"]),
    ]
    assert {"trait lifetime_value", "audience big_spenders"} <= set(event["read_by"])
    asked = cli(root, "protocols", "simulate", "--event", "Order Complete")
    assert (asked.returncode, asked.stderr.splitlines()[-1]) == (
        2,
        "Error: --event Order Complete: is not in the plan. Did you mean 'Order Completed'?",
    )
