"""Insert entries into YAML as text, without changing anything else."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from revetl.errors import UsageError
from revetl.project.scaffolding.edits import with_entries, with_item, without

VARS = "# why\nsample_events: false\n"

ENTRIES = {
    "an empty file": ("", "vars:\n  revetl:\n    # why\n    sample_events: false\n"),
    "no vars": (
        "name: shop  # ours\n",
        "name: shop  # ours\n\nvars:\n  revetl:\n    # why\n    sample_events: false\n",
    ),
    "no newline at the end": (
        "name: shop",
        "name: shop\n\nvars:\n  revetl:\n    # why\n    sample_events: false\n",
    ),
    "vars of others, in four columns, with comments": (
        "vars:\n    # one\n    start: 1  # first\n    # off: 2\n\nmodels: {}\n",
        "vars:\n    # one\n    start: 1  # first\n    revetl:\n      # why\n      sample_events: false\n"
        "    # off: 2\n\nmodels: {}\n",
    ),
    "vars of ours": (
        "vars:\n  revetl:\n    as_of: 2026-01-01\n  other: 1\n",
        "vars:\n  revetl:\n    as_of: 2026-01-01\n    # why\n    sample_events: false\n  other: 1\n",
    ),
    "vars in braces": (
        "vars: {a: 1}\nname: x\n",
        "vars: {a: 1, revetl: {sample_events: false}}\nname: x\n",
    ),
    "empty braces": ("vars: {}  # none\n", "vars: {revetl: {sample_events: false}}  # none\n"),
    "vars of nothing": (
        "vars:\nname: x\n",
        "vars:\n  revetl:\n    # why\n    sample_events: false\nname: x\n",
    ),
    "a text of lines last": (
        "vars:\n  about: |\n    a\n\n    b\nname: x\n",
        "vars:\n  about: |\n    a\n\n    b\n  revetl:\n    # why\n    sample_events: false\nname: x\n",
    ),
    "an alias last": (
        "base: &base {a: 1}\nvars:\n  old: *base\nname: x\n",
        "base: &base {a: 1}\nvars:\n  old: *base\n  revetl:\n    # why\n    sample_events: false\nname: x\n",
    ),
    "line ends of Windows": (
        "vars:\r\n  a: 1\r\nname: x\r\n",
        "vars:\r\n  a: 1\r\n  revetl:\r\n    # why\r\n    sample_events: false\r\nname: x\r\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), ENTRIES.values(), ids=ENTRIES)
def test_entries_are_inserted_after_existing_ones(before: str, after: str) -> None:
    assert with_entries(before, ("vars", "revetl"), VARS, "dbt_project.yml") == after


ITEM = "local: vendor/revetl\n"
ITEMS = {
    "an empty file": ("", "packages:\n  - local: vendor/revetl\n"),
    "a list": (
        "packages:\n  - package: dbt-labs/dbt_utils  # ours\n    version: 1.3.0\n",
        "packages:\n  - package: dbt-labs/dbt_utils  # ours\n    version: 1.3.0\n  - local: vendor/revetl\n",
    ),
    "a list that is not indented": (
        'packages:\n- package: a/b\n  version: [">=1.0.0", "<2.0.0"]\n# end\n',
        'packages:\n- package: a/b\n  version: [">=1.0.0", "<2.0.0"]\n- local: vendor/revetl\n# end\n',
    ),
    "no list": (
        "projects:\n  - name: other\n",
        "projects:\n  - name: other\n\npackages:\n  - local: vendor/revetl\n",
    ),
    "an empty list": ("packages: []\n", "packages: [{local: vendor/revetl}]\n"),
    "a list in brackets": (
        "packages: [{local: a}, ]\n",
        "packages: [{local: a}, {local: vendor/revetl}]\n",
    ),
    "JSON": ('{"packages": [{"local": "a"}]}', '{"packages": [{"local": "a"}, {local: vendor/revetl}]}'),
}


@pytest.mark.parametrize(("before", "after"), ITEMS.values(), ids=ITEMS)
def test_an_item_is_appended_to_existing_ones(before: str, after: str) -> None:
    assert with_item(before, "packages", ITEM, "packages.yml") == after


REMOVALS = {
    "one of two": (
        "seeds:\n  revetl:\n    # ours\n    cut_edges:\n      +enabled: false\n    other: {a: 1}\nname: x\n",
        "seeds:\n  revetl:\n    other: {a: 1}\nname: x\n",
    ),
    "the only one, and what held it": (
        "name: x\n\nseeds:\n  revetl:\n    cut_edges:\n      +enabled: false\n",
        "name: x\n",
    ),
    "none": ("seeds:\n  shop: {a: 1}\n", "seeds:\n  shop: {a: 1}\n"),
}


@pytest.mark.parametrize(("before", "after"), REMOVALS.values(), ids=REMOVALS)
def test_an_entry_is_removed(before: str, after: str) -> None:
    assert without(before, ("seeds", "revetl", "cut_edges"), "dbt_project.yml") == after


WRONG = {
    "vars that are a text": (
        "vars: all\n",
        "dbt_project.yml: vars.revetl is not a mapping. Add this manually:",
    ),
    "a list": ("- vars\n", "dbt_project.yml: is not a YAML mapping."),
    "a null that is written": (
        "vars: ~\n",
        "dbt_project.yml: cannot insert into the file automatically. Add this manually:\n"
        "  vars:\n    revetl:\n      # why\n      sample_events: false",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG)
def test_an_impossible_edit_is_an_error_with_the_lines_to_add(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        with_entries(text, ("vars", "revetl"), VARS, "dbt_project.yml")
    assert str(refused.value).startswith(sentence)


NAMES = st.sampled_from(["a", "b", "revetl", "vars", "packages"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(document=st.dictionaries(NAMES, VALUES, max_size=4), flow=st.sampled_from([None, True, False]))
def test_an_edit_only_adds_the_entries(document: dict[str, object], flow: bool | None) -> None:
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=flow)
    try:
        made = with_entries(text, ("vars", "revetl"), VARS, "x.yml")
    except UsageError:
        return
    found = yaml.safe_load(made)
    assert found["vars"]["revetl"].pop("sample_events") is False
    for name, value in document.items():
        assert name == "vars" or found[name] == value
    changed = [line for line in text.splitlines() if line not in made.splitlines()]
    # Only brackets are opened for the entries.
    assert flow is not False or [line for line in changed if not line.endswith("{}")] == []
