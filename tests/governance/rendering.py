"""The SQL of any plan, as dbt renders it: dbt reads the project once, and its macros are then called with
plan after plan, which takes milliseconds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

from revetl.governance.tracking_plan.compiled import compile_plan
from revetl.governance.tracking_plan.compiled_transformations import compile_transformations
from revetl.governance.tracking_plan.plan import DOCUMENTS, TrackingPlan
from revetl.governance.transformations import TransformationsFile
from tests.helpers.built import ROOT


class Renderer:
    """The project's macros on one of dbt's adapters."""

    def __init__(self, folder: Path, engine: str = "duckdb") -> None:
        # Here, for dbt takes seconds to import, and most runs of pytest collect this and call none of it.
        from dbt.adapters.factory import get_adapter_by_type
        from dbt.cli.main import dbtRunner
        from dbt.context.providers import generate_runtime_macro_context

        environment = {
            "REVETL_DUCKDB_PATH": str(folder / "unused.duckdb"),
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
        }
        options = ["--project-dir", str(ROOT), "--profiles-dir", str(ROOT), "--target", engine, "--quiet"]
        with mock.patch.dict(os.environ, environment):
            done = dbtRunner().invoke(["parse", *options])
        assert done.success, done.exception
        self._manifest: Any = done.result
        self._adapter: Any = get_adapter_by_type(engine)  # type: ignore[no-untyped-call]
        self._adapter.set_macro_context_generator(generate_runtime_macro_context)

    def violations(self, plan: TrackingPlan, messages: str) -> str:
        """The query of a plan's violations, over the query `messages`."""
        compiled = compile_plan(plan)
        number = self._call("document_number", plan=compiled, type="track", event="event")
        others = "".join(
            f" when '{kind}' then {self._call('document_number', plan=compiled, type=kind, event=None)}"
            for kind in ("identify", "group", "page", "screen")
        )
        numbered = (
            f"select *, case message_type when 'track' then {number}{others} end as document_number "
            f"from ({messages}) as landed"
        )
        return str(self._call("plan_violations", plan=compiled, messages=numbered))

    def without_omitted(self, plan: TrackingPlan, messages: str) -> str:
        """The query of messages' documents, as JSON texts by message id, without what the plan omits."""
        compiled = compile_plan(plan)
        cases = ""
        for kind in DOCUMENTS:
            # As staging has it: where a violation of the message says so.
            omits = f"(select message_id from ({self.violations(plan, messages)}) as v where action = 'omit')"
            arguments = {"type": kind, "content": "content", "event": "event"}
            condition = f"message_id in {omits}"
            kept = self._call("without_omitted", plan=compiled, condition=condition, **arguments)
            cases += f" when '{kind}' then {kept}"
        return f"select message_id, cast(case message_type{cases} end as varchar) from ({messages}) as landed"

    def transformed(self, file: TransformationsFile, column: str, message_type: str = "track") -> str:
        """A column of a raw table as it is after the transformations."""
        compiled = compile_transformations(file)
        return str(self._call("transformed", type=message_type, column=column, transformations=compiled))

    def blocks(self, plan: TrackingPlan, message_type: str) -> bool:
        """Whether a plan may block messages of a type."""
        return bool(self._call("plan_blocks", plan=compile_plan(plan), type=message_type))

    def _call(self, macro: str, **arguments: Any) -> Any:
        return self._adapter.execute_macro(
            macro, macro_resolver=self._manifest, project="revetl", kwargs=arguments
        )
