"""Selections match dbt's on two projects."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from revetl import dbt
from revetl.dbt.selectors import select_models
from revetl.errors import UsageError
from tests.helpers.built import ROOT, copy_with_examples

FILES = {
    "dbt_project.yml": """
        {name: shop, version: "1.0", config-version: 2, profile: shop,
         models: {shop: {+meta: {revetl: {key: id}}, marts: {+tags: [mart]}}}}
    """,
    "profiles.yml": "{shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}}",
    "models/_models.yml": """
        sources:
          - {name: raw, schema: main, tables: [{name: events, config: {tags: [landed]}}]}
        models:
          - {name: vips, config: {tags: [nightly, vip]}, columns: [{name: id, data_tests: [not_null]}]}
          - {name: lapsed, config: {tags: [nightly]}}
          - name: scored
            latest_version: 2
            versions: [{v: 1}, {v: 2}]
        exposures:
          - {name: board, type: dashboard, owner: {name: us}, depends_on: [ref('vips')], tags: [boards]}
    """,
    "models/staging/stg_events.sql": "select 1 as id from {{ source('raw', 'events') }}",
    "models/staging/stg_people.sql": "select 1 as id from {{ ref('names') }}",
    "models/marts/people.sql": "select e.id from {{ ref('stg_events') }} e, {{ ref('stg_people') }}",
    "models/marts/deep/vips.sql": "select id from {{ ref('people') }}",
    "models/marts/deep/lapsed.sql": "select id from {{ ref('people') }}",
    "models/marts/scored_v1.sql": "select id from {{ ref('stg_events') }}",
    "models/marts/scored_v2.sql": "select id from {{ ref('scored', v=1) }}",
    "models/vip_list.sql": "select id from {{ ref('vips') }}",
    "seeds/names.csv": "id\n1\n",
    "tests/vips_are_few.sql": "select id from {{ ref('vips') }} where false",
}
SHOP: list[tuple[str | None, str | None]] = [
    ("vips", None),
    ("vips lapsed", None),
    ("vip*", None),
    ("*ps", None),
    ("?ips", None),
    ("vips.sql", None),
    ("file:vips", None),
    ("fqn:shop.marts.deep", None),
    ("shop.marts", None),
    ("marts.deep.vips", None),
    ("marts.*", None),
    ("marts.d*", None),
    ("deep", None),
    ("scored", None),
    ("scored.v1", None),
    ("scored_v2", None),
    ("scor*", None),
    ("shop.marts.scored.v2+", None),
    ("tag:nightly", None),
    ("tag:nigh*", None),
    ("tag:nightly,tag:vip", None),
    ("tag:mart tag:nightly,vip_list", None),
    ("tag:landed+", None),
    ("tag:boards", None),
    ("+tag:boards", None),
    ("models/marts", None),
    ("path:models/marts/deep", None),
    ("path:models/marts/*.sql", None),
    ("path:models/**/vips.sql", None),
    ("models/_models.yml", None),
    ("path:models/staging/", None),
    ("path:seeds+", None),
    ("package:this", None),
    ("package:other", None),
    ("+vips", None),
    ("1+vips", None),
    ("2+vips", None),
    ("0+vips", None),
    ("stg_events+", None),
    ("stg_events+1", None),
    ("1+people+1", None),
    ("+people+", None),
    ("@stg_events", None),
    ("@vips", None),
    ("names+", None),
    ("+board", None),
    ("vips_are_few", None),
    ("+vips_are_few", None),
    ("1+not_null_vips_id", None),
    ("+vips,tag:mart", None),
    ("people+,tag:nightly", "lapsed"),
    (None, "tag:nightly"),
    (None, "path:models/staging scor*"),
    ("tag:mart", "people+"),
    ("*", "*"),
    ("nothing", None),
    ("vips.marts", None),
    ("VIPS", None),
    ("", None),
    ("  vips   lapsed ", None),
]
OURS: list[tuple[str | None, str | None]] = [
    ("high_churn", None),
    ("+high_churn", None),
    ("audiences", None),
    ("path:models/audiences", "big_*"),
    ("revetl_profiles+", None),
    ("revetl_profiles+1,*_buyers", None),
    ("source:revetl_raw.tracks+", None),
    ("@stg_revetl__tracks", "high_churn"),
    ("config.materialized:table", "high_churn"),
    ("stg_revetl__tracks+2", None),
]

_ASK_DBT = """
import contextlib, io, json, sys
from dbt.cli.main import dbtRunner

answers = []
for folder, selections in json.load(sys.stdin):
    where = ["--project-dir", folder, "--profiles-dir", folder, "--target-path", folder + "/target"]
    where += ["--log-path", folder + "/logs"]
    with contextlib.redirect_stdout(io.StringIO()):
        runner = dbtRunner(manifest=dbtRunner().invoke(["parse", *where]).result)
        found = []
        for select, exclude in selections:
            words = ["--resource-type", "model", "--output", "json", "--output-keys", "unique_id"]
            words += ["--select", select] if select is not None else []
            words += ["--exclude", exclude] if exclude is not None else []
            done = runner.invoke(["ls", *words, *where])
            assert done.success, done.exception
            found.append(sorted(json.loads(line)["unique_id"] for line in done.result))
    answers.append(found)
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[list[str]]]]:
    """The two projects, parsed, and what dbt answers to their selections."""
    shop = tmp_path_factory.mktemp("selection") / "shop"
    for name, text in FILES.items():
        path = shop / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix("        ") for line in text.splitlines()))
    ours = shop.with_name("ours")
    copy_with_examples(ours)
    shutil.copy(ROOT / "revetl.yml", ours)
    question = json.dumps([(str(shop), SHOP), (str(ours), OURS)])
    done = subprocess.run(
        [sys.executable, "-c", _ASK_DBT],
        input=question,
        capture_output=True,
        text=True,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = json.loads(done.stdout)
    return {"shop": (shop, first), "ours": (ours, second)}


def selected(root: Path, select: str | None, exclude: str | None, **more: Any) -> list[str]:
    """What we answer."""
    options = dbt.Options(project_dir=root, profiles_dir=root)
    project = dbt.read_project(options)
    manifest = dbt.Manifest(project)
    try:
        return sorted(select_models(manifest, project, options, select=select, exclude=exclude, **more))
    except UsageError as error:
        if "no audience matches" not in str(error):
            raise
        return []


@pytest.mark.parametrize(
    ("name", "index"),
    [*(("shop", index) for index in range(len(SHOP))), *(("ours", index) for index in range(len(OURS)))],
    ids=[
        f"{name}: {select} - {exclude}"
        for name, of in (("shop", SHOP), ("ours", OURS))
        for select, exclude in of
    ],
)
@pytest.mark.slow
@pytest.mark.long
def test_a_selection_matches_what_dbt_selects(
    asked: dict[str, tuple[Path, list[list[str]]]], name: str, index: int
) -> None:
    root, answers = asked[name]
    select, exclude = (SHOP if name == "shop" else OURS)[index]
    audiences = {model.unique_id for model in dbt.Manifest(dbt.read_project(dbt.Options(root))).models()}
    assert selected(root, select, exclude) == sorted(set(answers[index]) & audiences)


@pytest.mark.slow
@pytest.mark.long
def test_what_changed_since_another_build(
    asked: dict[str, tuple[Path, list[list[str]]]], tmp_path: Path
) -> None:
    root = tmp_path / "shop"
    shutil.copytree(asked["shop"][0], root)
    state = root / "production"
    (root / "target").rename(state)
    (root / "models/marts/deep/vips.sql").write_text("select id from {{ ref('people') }} where id > 1")
    dbt.run(dbt.read_project(dbt.Options(root)), dbt.Options(root, root), "parse")
    assert selected(root, "state:modified+", None, state=state) == ["model.shop.vip_list", "model.shop.vips"]
    with pytest.raises(UsageError, match=r"`dbt ls --select state:modified` failed. Fix this error:\n"):
        selected(root, "state:modified", None)


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "a name": ({"select": "vipss"}, "--select vipss: no audience matches. Did you mean 'vips'?"),
    "a tag": (
        {"select": "tag:nightli"},
        "--select tag:nightli: no audience matches. Did you mean 'tag:nightly'?",
    ),
    "everything left out": (
        {"select": "vips", "exclude": "tag:vip"},
        "--select vips --exclude tag:vip: no audience matches. Did you mean 'vips'?",
    ),
    "a path of the machine": ({"select": "path:/etc"}, "path:/etc: is not relative to "),
}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("given", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_an_empty_selection_is_an_error_with_the_nearest_name(
    asked: dict[str, tuple[Path, list[list[str]]]], given: dict[str, Any], sentence: str
) -> None:
    options = dbt.Options(asked["shop"][0], asked["shop"][0])
    project = dbt.read_project(options)
    with pytest.raises(UsageError) as error:
        select_models(dbt.Manifest(project), project, options, **given)
    assert str(error.value).startswith(sentence)


@pytest.mark.slow
@pytest.mark.long
def test_a_word_without_a_match_is_reported(asked: dict[str, tuple[Path, list[list[str]]]]) -> None:
    said: list[str] = []
    found = selected(asked["shop"][0], "vips", "laspd", say=said.append)
    assert (found, said) == (
        ["model.shop.vips"],
        ["Warning: --exclude laspd: matches nothing in the dbt project."],
    )


SELECTORS = """
selectors:
  - name: campaigns
    definition:
      union:
        - {method: tag, value: nightly}
        - {method: fqn, value: scored}
        - exclude: [{method: fqn, value: lapsed}]
"""


@pytest.mark.slow
@pytest.mark.long
def test_a_selector_of_selectors_yml(asked: dict[str, tuple[Path, list[list[str]]]], tmp_path: Path) -> None:
    root = tmp_path / "shop"
    shutil.copytree(asked["shop"][0], root)
    (root / "selectors.yml").write_text(SELECTORS)
    assert selected(root, None, None, selector="campaigns") == ["model.shop.scored.v2", "model.shop.vips"]
    with pytest.raises(UsageError, match="campaign"):
        selected(root, None, None, selector="campaign")
