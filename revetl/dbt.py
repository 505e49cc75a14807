"""dbt's own files as data: `dbt_project.yml`, `profiles.yml`, `target/manifest.json`, `run_results.json`.

dbt itself is never imported. When the manifest is missing or older than the models, `dbt parse` is run, by
the dbt that `dbt_program` finds.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml

from revetl.checking import read_yaml
from revetl.dbt_program import find_dbt, run_dbt, said
from revetl.errors import UsageError, nearest
from revetl.rendering import render

Say = Callable[[str], None]
PACKAGE = "revetl"
_FOLDERS = 2
_SCHEMA_OF = {"revetl_raw": "raw", "revetl_state": "state"}
"""The package's sources, and which of its two schemas each is in."""

DELIVERY_TESTS = frozenset(
    {
        "delivered_within",
        "rejection_rate_below",
        "delivered_equals_audience",
        "no_suppressed_delivered",
    }
)
"""The package's generic tests of what was delivered."""


@dataclass(frozen=True)
class Options:
    """dbt's own command-line options, which revetl takes with dbt's names and meanings."""

    project_dir: Path | None = None
    profiles_dir: Path | None = None
    profile: str | None = None
    target: str | None = None
    vars: str | None = None
    dbt: Path | None = None
    """The dbt to run. It is ours: dbt has no such option."""

    def as_arguments(self) -> list[str]:
        """The options as dbt's command line takes them."""
        given = {
            "--project-dir": self.project_dir,
            "--profiles-dir": self.profiles_dir,
            "--profile": self.profile,
            "--target": self.target,
            "--vars": self.vars,
        }
        return [word for name, value in given.items() if value is not None for word in (name, str(value))]


@dataclass(frozen=True)
class Target:
    """One output of a profile, rendered: where the warehouse is. `place` is where users have written it, when
    that is not a profile."""

    name: str
    type: str
    config: Mapping[str, Any]
    place: str = ""

    @property
    def called(self) -> str:
        """What users call it."""
        return self.place or f"profiles.yml: target '{self.name}'"

    @property
    def schema(self) -> str:
        """Its default schema, as dbt has it."""
        return str(self.config.get("schema") or self.config.get("dataset") or "main")


@dataclass(frozen=True)
class DbtProject:
    """`dbt_project.yml`: what the runner needs of it."""

    root: Path
    name: str
    profile: str
    model_paths: tuple[str, ...]
    target_path: Path
    vars: Mapping[str, Any]
    given_vars: Mapping[str, Any] = field(default_factory=dict)

    def variable(self, name: str, default: str = "") -> str:
        """A variable of the revetl package, as dbt finds it for the package's sources: given with --vars,
        else as the project sets it, under `revetl` or for all; `default` where it is null. Raises
        UsageError for one with Jinja in it, which dbt renders in models and not in the schema of a source."""
        own = self.vars.get("revetl")
        set_here = (own if isinstance(own, Mapping) else {}).get(name, self.vars.get(name, default))
        found = self.given_vars.get(name, set_here)
        value = default if found is None else str(found)
        if "{{" in value or "{%" in value:
            raise UsageError(
                f"{name}: '{value}' has Jinja in it, which dbt does not render in the schema of a source. "
                f"Write the name, and give other targets theirs with --vars '{name}: NAME'."
            )
        return value


@dataclass(frozen=True)
class Model:
    """A model of the manifest that has `config.meta.revetl`."""

    name: str
    unique_id: str
    database: str | None
    schema: str
    alias: str
    description: str
    tags: tuple[str, ...]
    place: str
    meta: Any
    parents: tuple[str, ...] = ()
    """The names of the models and sources that it selects from."""
    materialized: str = "table"


def read_project(options: Options) -> DbtProject:
    """The dbt project in `--project-dir`, or in this folder or the nearest one above it, as dbt finds it."""
    start = (options.project_dir or Path.cwd()).resolve()
    candidates = [start] if options.project_dir else [start, *start.parents]
    root = next((folder for folder in candidates if (folder / "dbt_project.yml").is_file()), None)
    if root is None:
        raise UsageError(
            f"{start}: there is no dbt_project.yml here. "
            "Run `revetl init NAME` to make a project, or name one with --project-dir."
        )
    document = read_yaml(root / "dbt_project.yml", unique=False)
    if not isinstance(document, Mapping) or "name" not in document:
        raise UsageError("dbt_project.yml: name is missing. Add it.")
    name = str(document["name"])
    target_path = os.environ.get("DBT_TARGET_PATH") or document.get("target-path") or "target"
    return DbtProject(
        root=root,
        name=name,
        profile=str(options.profile or document.get("profile") or name),
        model_paths=tuple(document.get("model-paths") or ["models"]),
        target_path=root / target_path,
        vars=document.get("vars") or {},
        given_vars=read_vars(options.vars),
    )


def read_vars(text: str | None) -> Mapping[str, Any]:
    """What --vars gives: a YAML mapping. Raises UsageError for anything else."""
    try:
        given = yaml.safe_load(text or "") or {}
    except yaml.YAMLError:
        given = None
    if not isinstance(given, Mapping):
        raise UsageError(
            f"--vars '{text}': is not a YAML mapping. Write such as --vars 'state_schema: NAME'."
        )
    return {str(name): value for name, value in given.items()}


def read_profile(project: DbtProject, options: Options) -> tuple[Path, Mapping[str, Any]]:
    """profiles.yml, and the project's profile as it is written there: nothing is rendered. Raises UsageError
    when there is none."""
    path = _profiles_yml(project, options)
    profiles = read_yaml(path, unique=False) or {}
    if project.profile not in profiles:
        found = [name for name in profiles if name != "config"]
        raise UsageError(
            f"{path}: there is no profile '{project.profile}'. {nearest(project.profile, found)}"
        )
    return path, profiles[project.profile]


def read_target(project: DbtProject, options: Options) -> Target:
    """The output that dbt would use: the one named by --target, else the profile's own."""
    path, profile = read_profile(project, options)
    outputs = profile.get("outputs") or {}
    name = str(
        options.target or render(profile.get("target", "default"), f"{path}: {project.profile}.target")
    )
    if name not in outputs:
        raise UsageError(
            f"{path}: {project.profile}.outputs has no target '{name}'. {nearest(name, outputs)}"
        )
    config = render(outputs[name], f"{path}: {project.profile}.outputs.{name}")
    return Target(name=name, type=str(config.get("type")), config=config)


def _profiles_yml(project: DbtProject, options: Options) -> Path:
    """profiles.yml: in --profiles-dir, DBT_PROFILES_DIR, the project, this folder, ~/.dbt."""
    named = options.profiles_dir or os.environ.get("DBT_PROFILES_DIR")
    folders = [Path(named)] if named else [project.root, Path.cwd(), Path.home() / ".dbt"]
    for folder in folders:
        if (folder / "profiles.yml").is_file():
            return folder / "profiles.yml"
    where = " or ".join(str(folder) for folder in folders)
    raise UsageError(
        f"profiles.yml was not found in {where}. Write one there, or name its folder with --profiles-dir."
    )


class Manifest:
    """`target/manifest.json`, and `target/run_results.json` beside it."""

    def __init__(self, project: DbtProject) -> None:
        self._project = project
        self.path = project.target_path / "manifest.json"
        self._document = orjson.loads(self.path.read_bytes())
        schemas = self.schemas
        for source in self._document.get("sources", {}).values():
            # Of its YAML, dbt can only tell what its own schema macro would make.
            kind = _SCHEMA_OF.get(source.get("source_name"), "")
            if source.get("package_name") == "revetl" and kind in schemas:
                source["schema"] = schemas[kind]

    @property
    def schemas(self) -> Mapping[str, str]:
        """The schemas of raw events (`raw`) and of the state (`state`), as the package has resolved them;
        none where the package, or its model of them, is not in the project."""
        return dict(self._published.get("schemas") or {})

    @property
    def made_for(self) -> tuple[str, str] | None:
        """The target it was made for and its default schema, where the package is in the project."""
        target = self._published.get("target")
        return (str(target["name"]), str(target["schema"])) if target else None

    @property
    def _published(self) -> Mapping[str, Any]:
        node = self._document["nodes"].get("model.revetl.int_revetl__project") or {}
        found = (node.get("config") or {}).get("meta") or {}
        return found if isinstance(found, Mapping) else {}

    @property
    def invocation_id(self) -> str | None:
        """The dbt invocation that wrote it."""
        found = self._document["metadata"].get("invocation_id")
        return None if found is None else str(found)

    @property
    def adapter_type(self) -> str:
        """The dbt adapter the manifest was made for, such as `duckdb`."""
        return str(self._document["metadata"].get("adapter_type"))

    def models(self) -> list[Model]:
        """Every enabled model with `config.meta.revetl`, by name; of a model with versions the latest,
        whose name has no version in it, so that its syncs go on when another becomes the latest."""
        found = [
            _model(node, self._project.name)
            for node in self._document["nodes"].values()
            if node["resource_type"] == "model"
            and "revetl" in (node["config"].get("meta") or {})
            and _is_latest(node)
        ]
        return sorted(found, key=lambda model: model.name)

    def relations(self, *, models_only: bool = False) -> dict[str, tuple[str, str, str | None]]:
        """Name to (alias, schema, database) of every model, seed, snapshot and source (with `models_only`, of
        models and seeds); the project's own come before a package's of the same name."""
        kinds = {"model", "seed"} if models_only else {"model", "seed", "snapshot", "source"}
        found: dict[str, tuple[str, str, str | None]] = {}
        nodes = [*self._document["nodes"].values(), *self._document.get("sources", {}).values()]
        nodes.sort(key=lambda node: node.get("package_name") == self._project.name)
        for node in nodes:
            if node["resource_type"] in kinds and _is_latest(node):
                alias = node.get("alias") or node.get("identifier") or node["name"]
                found[node["name"]] = (alias, node["schema"], node.get("database"))
        return found

    def graph(self) -> dict[str, Mapping[str, Any]]:
        """Everything dbt can select, as its artifacts have it, by unique id: models, tests, seeds, sources,
        exposures and the like."""
        kinds = (
            "nodes",
            "sources",
            "exposures",
            "metrics",
            "semantic_models",
            "saved_queries",
            "unit_tests",
            "functions",
        )
        return {name: node for kind in kinds for name, node in self._document.get(kind, {}).items()}

    def failures(self, model: Model) -> list[str]:
        """What failed in the last dbt run that had it: data tests of `model` and of the models it is made
        of, and those models themselves where they errored or were skipped."""
        path = self.path.with_name("run_results.json")
        if not path.exists():
            return []
        results = {row["unique_id"]: row["status"] for row in orjson.loads(path.read_bytes())["results"]}
        made_of = self._ancestry(model.unique_id)
        bad = {name for name, status in results.items() if status in {"fail", "error", "skipped"}}
        found = {name for name in bad if name in made_of or self._tests(name, made_of)}
        return sorted(name.split(".")[2] for name in found)

    def built_at(self, model: Model) -> datetime | None:
        """When the last dbt run that is known here has built a model, in UTC; None where that did not
        build it."""
        path = self.path.with_name("run_results.json")
        if not path.exists():
            return None
        document = orjson.loads(path.read_bytes())
        if (document.get("args") or {}).get("which") not in {"build", "run"}:
            return None
        ended = [
            str(timing["completed_at"])
            for row in document["results"]
            if row["unique_id"] == model.unique_id and row["status"] == "success"
            for timing in row.get("timing", ())
            if timing.get("completed_at")
        ]
        moments = [datetime.fromisoformat(text) for text in ended]
        naive = [each.astimezone(UTC).replace(tzinfo=None) if each.tzinfo else each for each in moments]
        return max(naive, default=None)

    def _ancestry(self, unique_id: str) -> set[str]:
        """A node and everything it is made of."""
        found: set[str] = set()
        waiting = [unique_id]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._document["nodes"].get(name, {}).get("depends_on", {}).get("nodes", [])
        return found

    def _tests(self, unique_id: str, nodes: set[str]) -> bool:
        """Whether a test is of one of these nodes: of the one it hangs on, or, for a singular test, of all
        that it reads."""
        node = self._document["nodes"].get(unique_id, {})
        if node.get("resource_type") not in {"test", "unit_test"}:
            return False
        if (node.get("test_metadata") or {}).get("name") in DELIVERY_TESTS:
            return False  # it tells of the last sync, which the next one mends
        if attached := node.get("attached_node"):
            return attached in nodes
        read = set(node["depends_on"]["nodes"])
        return bool(read) and read <= nodes


def _name_in(unique_id: str) -> str:
    """The name in a unique id: `model.shop.vips.v2` is of vips, `source.shop.raw.tracks` of tracks."""
    kind, _, *names = unique_id.split(".")
    return names[-1 if kind == "source" else 0]


def _is_latest(node: Mapping[str, Any]) -> bool:
    """Whether a node is no version of a model, or the latest one, as the model's `latest_version` has it."""
    version = node.get("version")
    return version is None or str(version) == str(node.get("latest_version", version))


def _model(node: Mapping[str, Any], project: str) -> Model:
    declared = (node.get("patch_path") or node["original_file_path"]).split("://")[-1]
    package = node.get("package_name", project)
    return Model(
        name=node["name"],
        unique_id=node["unique_id"],
        database=node.get("database"),
        schema=node["schema"],
        alias=node.get("alias") or node["name"],
        description=node.get("description") or "",
        tags=tuple(node["config"].get("tags") or ()),
        place=declared if package == project else f"dbt_packages/{package}/{declared}",
        meta=node["config"]["meta"]["revetl"],
        parents=tuple(map(_name_in, (node.get("depends_on") or {}).get("nodes", ()))),
        materialized=str(node["config"].get("materialized") or "table"),
    )


def read_manifest(
    project: DbtProject, target: Target, database: str | None, options: Options, say: Say
) -> Manifest:
    """The manifest of `target`; made anew by `dbt parse` when it is missing, older than the project's
    files, or made for another warehouse (`database` is the one the target opens, where that is known)."""
    reason = _stale(project)
    if reason is None:
        manifest = Manifest(project)
        reason = _other_vars(project, manifest)
    if reason is None:
        models = manifest.models()
        elsewhere = database is not None and any(model.database != database for model in models)
        other = manifest.made_for not in (None, (target.name, target.schema))
        if manifest.adapter_type == target.type and not elsewhere and not other:
            return manifest
        reason = f"was made for another target than '{target.name}'"
    _parse(project, options, reason, say)
    manifest = Manifest(project)
    _note_of_vars(project).write_bytes(
        orjson.dumps({"invocation_id": manifest.invocation_id, "vars": dict(project.given_vars)}, default=str)
    )
    return manifest


def _other_vars(project: DbtProject, manifest: Manifest) -> str | None:
    """Why the manifest was not made with the variables that are given now. What made it says so: dbt's own
    run results, or our note of what we had it parse; of a manifest of unknown origin none are assumed. The
    run results of dbt 2 do not name the variables, so a manifest that its build made never counts."""
    made_with: object = {}
    for path in (_note_of_vars(project), project.target_path / "run_results.json"):
        try:
            found = orjson.loads(path.read_bytes())
            made_by = found.get("invocation_id") or found["metadata"]["invocation_id"]
            if made_by is not None and made_by == manifest.invocation_id:
                if "vars" in found:
                    made_with = found["vars"]
                elif "vars" in found["args"] or found["metadata"]["dbt_version"].startswith("1."):
                    made_with = found["args"].get("vars") or {}
                else:
                    made_with = None
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            continue
    given = orjson.loads(orjson.dumps(dict(project.given_vars), default=str))
    if made_with is None:
        return "does not say which --vars it was made with"
    return None if made_with == given else "was made with other --vars"


def _note_of_vars(project: DbtProject) -> Path:
    return project.target_path / "revetl_vars.json"


def _stale(project: DbtProject) -> str | None:
    path = project.target_path / "manifest.json"
    if not path.exists():
        return "is missing"
    made = path.stat().st_mtime
    folders = [project.root / folder for folder in project.model_paths]
    files = [
        file
        for folder in folders
        for pattern in ("*.sql", "*.yml", "*.yaml")
        for file in folder.rglob(pattern)
    ]
    for file in [project.root / "dbt_project.yml", *files]:
        if file.stat().st_mtime > made:
            return f"is older than {file.relative_to(project.root)}"
    return None


def _parse(project: DbtProject, options: Options, reason: str, say: Say) -> None:
    command = " ".join(["dbt", "parse", *options.as_arguments()])
    say(f"target/manifest.json {reason}: running `{command}`")
    done = run(project, options, "parse")
    if done.returncode:
        text = said(done)
        if (sentence := clash(project, text)) is not None:
            raise UsageError(sentence)
        tail = "\n".join(text.splitlines()[-12:])
        raise UsageError(f"target/manifest.json {reason}, and `{command}` failed. Fix what it says:\n{tail}")


_CLASH = re.compile(r"two resources with the database re(presentation|lation) ")
_RESOURCE = re.compile(
    r"\b(?P<kind>model|seed|snapshot)\.(?P<package>\w+)\.(?P<name>\w+)(?: \((?P<file>[^)]+)\))?"
)


def clash(project: DbtProject, text: str) -> str | None:
    """The error where dbt refuses two resources that are one relation, and one of them is the package's;
    None for any other error. dbt 1 names their files, dbt 2 does not."""
    found = list(_RESOURCE.finditer(text[told.start() :])) if (told := _CLASH.search(text)) else []
    ours = next((each for each in found if each["package"] == PACKAGE), None)
    yours = next((each for each in found if each["package"] != PACKAGE), None)
    if ours is None or yours is None:
        return None
    kind, name = ours["kind"], ours["name"]
    file, own = _file_of(project, yours), _file_of(project, ours)
    parts = own.split(f"{PACKAGE}/")[-1].split("/")
    folder = parts[1] if kind == "model" and len(parts) > _FOLDERS else None
    lines = [f"{kind}s:", f"  {PACKAGE}:", *([f"    {folder}:"] if folder else [])]
    lines.append(f"{'  ' * (len(lines))}+schema: {PACKAGE}_models")
    lines += ["flags:", "  require_ref_searches_node_package_before_root: true"]
    return (
        f"{file} and revetl's {kind} {name} ({own}) are the same relation in the warehouse. Rename yours, "
        "or move revetl's to another schema in dbt_project.yml:\n" + "\n".join(f"  {line}" for line in lines)
    )


def _file_of(project: DbtProject, found: re.Match[str]) -> str:
    """The file of a resource, from the project's folder: as dbt tells it, else where one of its name is; the
    resource's id where there is none."""
    package = found["package"]
    inside = "" if package == project.name else f"dbt_packages/{package}/"
    if found["file"]:
        return inside + str(found["file"])
    folders = [project.root / inside] if inside else [project.root / path for path in project.model_paths]
    suffix = "csv" if found["kind"] == "seed" else "sql"
    files = (file for folder in folders for file in sorted(folder.rglob(f"{found['name']}.{suffix}")))
    file = next(files, None)
    return found[0] if file is None else file.relative_to(project.root).as_posix()


def run(
    project: DbtProject, options: Options, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the dbt that `find_dbt` finds, with our options. Raises UsageError where it finds none."""
    folder = project.root if options.project_dir is None else None
    every = [*words, *options.as_arguments()]
    return run_dbt(find_dbt(options.dbt), every, folder=folder, environment=environment)
