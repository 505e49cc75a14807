"""A dbt project of somebody's with revetl's package in it, its own schema macro, and several targets in one
database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from revetl.dbt.project_files import Options
from revetl.project.workspace import Workspace
from tests.helpers.backends import make_backend
from tests.helpers.built import ROOT

VIPS = "select user_id from {{ ref('people') }} where amount > 5"
NAMED = """
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is none -%} {{ target.schema }}
    {%- elif target.name == 'prod' -%} {{ custom_schema_name | trim }}
    {%- else -%} {{ target.name }}__{{ node.package_name }}_{{ custom_schema_name | trim }}
    {%- endif -%}
{%- endmacro %}
"""
"""A schema macro as projects have them: production's schemas are what the models say."""


class Guest:
    """The project in a folder; `table` is a person's and its amount, which the audience `vips` is made of."""

    def __init__(self, folder: Path, engine: str = "duckdb") -> None:
        self.folder = folder
        (folder / "models").mkdir(parents=True)
        (folder / "macros").mkdir()
        self.backend = make_backend(engine, folder)
        output = {**self.backend.output, "threads": 1}
        main = self.backend.schema
        outputs = {name: {**output, "schema": schema} for name, schema in (("prod", main), ("ci", "ci"))}
        self.write("profiles.yml", {"guest": {"target": "prod", "outputs": outputs}})
        self.write("packages.yml", {"packages": [{"local": str(ROOT)}]})
        self.write("revetl.yml", {"destinations": {}})
        self.variables()
        (folder / "models" / "people.sql").write_text(
            "{{ config(materialized='table') }} select cast('u' || n as varchar) as user_id, 10 as amount "
            "from (select 1 as n union all select 2 union all select 3) as numbers "
            "where n <= {{ var('people', 2) }}"
        )
        (folder / "models" / "vips.sql").write_text(VIPS)
        meta = {"revetl": {"key": "user_id"}}
        self.write("models/vips.yml", {"models": [{"name": "vips", "config": {"meta": meta}}]})
        self.dbt("deps")

    def write(self, name: str, document: Any) -> None:
        """A file of YAML."""
        (self.folder / name).write_text(yaml.safe_dump(document, sort_keys=False))

    def variables(self, **values: Any) -> None:
        """Set the package's variables, and no others than it needs to be small; None for its own."""
        given = {"sample_events": False, "order_traits": {}, "audience_keys": "off", **values}
        given = {name: value for name, value in given.items() if value is not None}
        self.write("dbt_project.yml", {"name": "guest", "profile": "guest", "vars": {"revetl": given}})

    def without(self, models: dict[str, Any], **values: Any) -> None:
        """Switch models of the package off, and its snapshot."""
        self.variables(**values)
        document = yaml.safe_load((self.folder / "dbt_project.yml").read_text())
        off = {"snapshots": {"revetl": {"+enabled": False}}, "models": {"revetl": models}}
        self.write("dbt_project.yml", {**document, **off})

    def dbt(self, *arguments: str, exit_code: int = 0) -> str:
        """What dbt said."""
        command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "dbt.cli.main", "--no-use-colors"]
        done = subprocess.run(
            [*command, *arguments],
            env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == exit_code, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    def tables(self) -> dict[str, set[str]]:
        """Schema to its tables and views."""
        rows = self.backend.sql(
            "select table_schema, table_name from information_schema.tables "
            "where table_schema not in ('information_schema', 'pg_catalog')"
        )
        found: dict[str, set[str]] = {}
        for schema, name in rows:
            found.setdefault(schema, set()).add(name)
        return found

    def workspace(self, target: str = "prod") -> Workspace:
        """The runner's view of it."""
        return Workspace(Options(project_dir=self.folder, profiles_dir=self.folder, target=target))
