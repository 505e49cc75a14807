"""A dbt project with revetl as its package, traits that a test declares, and messages that it loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from revetl import Project
from tests.helpers.built import ROOT, SCHEMAS, connect

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult

Traits = Mapping[str, Any]


class World:
    """A folder with the project; its DuckDB file is `database`."""

    def __init__(
        self,
        folder: Path,
        models: Mapping[str, str] | None = None,
        *,
        like: World | None = None,
        output: Mapping[str, Any] | None = None,
    ) -> None:
        """With `like`, begins as a copy of another, which spares the seconds of making it; `output` is the
        target of another warehouse, which `ask` does not read."""
        self.folder = folder
        self.database = folder / "world.duckdb"
        self._loads = 0
        self._manifest: Any = None
        if like is not None:
            shutil.copytree(like.folder, folder, dirs_exist_ok=True, symlinks=True)
        else:
            (folder / "models").mkdir()
        made = output or {"type": "duckdb", "path": str(self.database)}
        profiles = {"world": {"target": "t", "outputs": {"t": {**made, "threads": 2}}}}
        (folder / "profiles.yml").write_text(json.dumps(profiles))
        for name, statement in (models or {}).items():
            (folder / "models" / f"{name}.sql").write_text(statement)
        if like is None:
            (folder / "packages.yml").write_text(json.dumps({"packages": [{"local": str(ROOT)}]}))
            self.declare({})
            self._dbt("deps")
            self._dbt("seed", "--select", "revetl_blocked_identifiers", "revetl_cut_edges")

    def declare(self, traits: Any, **variables: Any) -> None:
        """Put traits in the place of those declared, with other variables of revetl's."""
        self._manifest = None
        values = {**SCHEMAS, "sample_events": False, "traits": traits, **variables}
        project: dict[str, Any] = {"name": "world", "profile": "world", "vars": {"revetl": values}}
        (self.folder / "dbt_project.yml").write_text(yaml.safe_dump(project, sort_keys=False))

    def load(self, *files: Path, lines: Iterable[str] = ()) -> None:
        """Land files, and lines."""
        self._loads += 1
        written = self.folder / f"messages{self._loads}.ndjson"
        written.write_text("\n".join(lines))
        Project(self.folder, profiles_dir=self.folder).load([*files, written])

    def build(self, *arguments: str, as_of: str, select: Iterable[str] = ()) -> None:
        """`dbt run`, of everything unless `select` says what. The project is parsed once while nothing
        else is declared: what a build is as of is no part of it."""
        if self._manifest is None:
            self._manifest = self._parse()
        selection = ["--select", *select] if select else []
        self._dbt("run", *selection, *arguments, "--vars", json.dumps({"as_of": as_of}))

    def ask(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        with connect(self.database) as connection:
            cursor = connection.execute(statement)
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @contextmanager
    def parsed(self) -> Iterator[None]:
        """Parse once; in this block dbt takes the project as it was then, but for `--vars`."""
        self._manifest = self._parse()
        yield
        self._manifest = None

    def compile(self, model: str, variables: Mapping[str, Any]) -> tuple[bool, str]:
        """Whether a model compiles with other variables, and what dbt says."""
        return self.run("compile", "--select", model, "--vars", json.dumps(variables))

    def run(self, *arguments: str) -> tuple[bool, str]:
        """Whether a dbt command succeeds, and what it says."""
        out = StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            done = self._invoke(*arguments)
        return done.success, f"{out.getvalue()} {done.exception or ''}"

    def _parse(self) -> Any:
        self._manifest = None
        out = StringIO()
        with redirect_stdout(out), redirect_stderr(out):
            done = self._invoke("parse")
        assert done.success, f"{out.getvalue()} {done.exception or ''}"
        return done.result

    def _invoke(self, *arguments: str) -> dbtRunnerResult:
        # Here, for dbt takes seconds to import, and most runs of pytest only collect this.
        from dbt.cli.main import dbtRunner

        folders = ["--project-dir", str(self.folder), "--profiles-dir", str(self.folder)]
        here = Path.cwd()
        os.chdir(self.folder)
        try:
            return dbtRunner(manifest=self._manifest).invoke(["--no-use-colors", *arguments, *folders])
        finally:
            os.chdir(here)

    def _dbt(self, *arguments: str) -> None:
        done, said = self.run(*arguments)
        assert done, said[-4000:]
