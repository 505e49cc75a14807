"""The plan compiled to a dbt macro: it round-trips, and other files aren't overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from jinja2 import Environment

from revetl.errors import UsageError
from revetl.governance.tracking_plan import CompiledPlan, TrackingPlan, read_plan
from revetl.governance.tracking_plan.compiled import compile_plan, macro_text
from tests.governance.examples import PLAN, plan_of
from tests.governance.world import plans
from tests.helpers.built import ROOT

HERE = Path(__file__).parent


class Returned(Exception):
    """What a macro gave."""


def returned(text: str) -> Any:
    """What the macro in a file returns."""

    def give(value: Any) -> None:
        raise Returned(value)

    environment = Environment(extensions=["jinja2.ext.do"])
    template = environment.from_string(text + "{% do default__tracking_plan() %}", {"return": give})
    with pytest.raises(Returned) as found:
        template.render()
    return found.value.args[0]


@settings(max_examples=50)
@given(plan=plans())
def test_a_compiled_plan_round_trips(plan: TrackingPlan) -> None:
    assert returned(macro_text(plan)) == compile_plan(plan)


def test_words_with_a_meaning_in_jinja() -> None:
    names = ["{{ a }}", "{% b %}", "{# c", "d #}", "it's", "back\\slash"[:4] + "😀", "é", "-%}"]
    plan = TrackingPlan.model_validate({"events": [{"name": name} for name in names]})
    text = macro_text(plan)
    assert returned(text)["events"] == names
    assert text.count("{#") == text.count("#}") == 1 and text.count("{%") == 2


def test_values_of_the_same_types_share_indexes() -> None:
    plan = plan_of(
        """
        events:
          - {name: A, properties: [{name: a, type: string}, {name: b, type: number}, {name: c, type: string}]}
          - {name: B, properties: [{name: d, type: number}, {name: e, type: boolean}]}
        """
    )
    first, second = (document["paths"] for document in compile_plan(plan)["documents"])
    assert sorted(path[0] for path in first if path) == ["a", "b", "c"]
    assert first.index(["b"]) == second.index(["d"])
    assert None in second


def test_the_hash_depends_on_the_plan() -> None:
    changed = PLAN.replace("maximum: 100000", "maximum: 99999")
    assert compile_plan(plan_of(PLAN))["hash"] != compile_plan(plan_of(changed))["hash"]
    assert compile_plan(plan_of(PLAN))["hash"] == compile_plan(plan_of(PLAN + "\n# a comment"))["hash"]


def test_the_unit_tests_of_the_model_have_a_plan_that_is_compiled() -> None:
    document = yaml.safe_load((ROOT / "models/marts/protocols/_unit_tests.yml").read_text())
    overridden = document["unit_tests"][0]["overrides"]["macros"]["revetl.tracking_plan"]
    compiled = compile_plan(read_plan(HERE / "unit_test_plan.yaml"))
    assert overridden == json.loads(json.dumps(compiled))


def test_the_package_has_an_empty_plan() -> None:
    assert returned((ROOT / "macros/tracking_plan.sql").read_text()) == compile_plan(TrackingPlan())


def project(folder: Path, text: str = PLAN, more: str = "") -> CompiledPlan:
    (folder / "dbt_project.yml").write_text(f"name: shop\nprofile: shop\n{more}")
    (folder / "tracking_plan.yaml").write_text(text)
    return CompiledPlan(folder)


def test_a_file_is_written_only_if_it_changes(tmp_path: Path) -> None:
    compiled = project(tmp_path)
    assert not compiled.is_current
    assert compiled.write() and compiled.is_current
    assert compiled.path == tmp_path / "macros" / "tracking_plan.sql"
    assert compiled.path.read_text().startswith("{# Written by `revetl protocols compile`")
    assert not CompiledPlan(tmp_path).write()
    changed = project(tmp_path, PLAN + "unplanned_events: flag\n")
    assert not changed.is_current
    assert changed.write() and changed.is_current


def test_the_macro_path_of_the_project_is_used(tmp_path: Path) -> None:
    assert project(tmp_path, more="macro-paths: [sql/macros]\n").write()
    assert (tmp_path / "sql" / "macros" / "tracking_plan.sql").is_file()


def test_a_foreign_file_is_not_overwritten(tmp_path: Path) -> None:
    compiled = project(tmp_path)
    compiled.path.parent.mkdir()
    compiled.path.write_text("{% macro mine() %}{% endmacro %}")
    with pytest.raises(UsageError, match="was not written by revetl"):
        compiled.write()
    assert compiled.path.read_text() == "{% macro mine() %}{% endmacro %}"
