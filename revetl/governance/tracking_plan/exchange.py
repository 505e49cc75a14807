"""Import plans from other tools and export plans to them. Unsupported parts are reported as losses."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from revetl.config.base import check
from revetl.errors import UsageError
from revetl.governance.tracking_plan import rudderstack, segment
from revetl.governance.tracking_plan.plan import TrackingPlan
from revetl.governance.tracking_plan.schema import Losses, plan_schema, planned_plan

Document = dict[str, Any]


def export_plan(plan: TrackingPlan, kind: str) -> tuple[str, Losses]:
    """Export a plan as `segment`, `segment-public-api`, `rudderstack` or `json-schema`, with the losses."""
    losses = _policies(plan)
    if kind == "rudderstack":
        return _yaml(rudderstack.exported(plan, losses)), losses
    if kind == "segment":
        found = segment.exported(plan, losses)
    elif kind == "segment-public-api":
        found = segment.exported_to_public_api(plan)
    else:
        found = plan_schema(plan)
        unplanned = plan.unplanned_events_policy
        if unplanned != "allow":
            losses.remove(f"unplanned_events: {unplanned}")
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n", losses


def import_plan(files: Sequence[Path]) -> tuple[str, Losses]:
    """Import another tool's files as text of tracking_plan.yaml, with the losses. Raises UsageError for
    an unknown format, and for content that a plan can't represent."""
    documents = [document for file in files for document in _documents(file)]
    names = ", ".join("stdin" if str(file) == "-" else str(file) for file in files)
    losses: Losses = []
    if any("kind" in document for document in documents):
        planned = rudderstack.imported(documents, names, losses)
    elif len(documents) != 1:
        raise UsageError(
            f"{names}: has {len(documents)} documents, but only RudderStack plans consist of several. "
            "Import one document."
        )
    elif segment.is_plan(documents[0]):
        planned = segment.imported(documents[0], losses)
    elif {"allOf", "properties"} & set(documents[0]):
        planned = planned_plan(documents[0], names, losses)
    else:
        raise UsageError(
            f"{names}: is not in a known format. Use a tracking plan of Segment (rules) or RudderStack (kind"
            ": tracking-plan), or a JSON Schema (properties)."
        )
    check(TrackingPlan, planned, names)
    return yaml.safe_dump(planned, sort_keys=False, allow_unicode=True, width=110), losses


def _policies(plan: TrackingPlan) -> Losses:
    """Return the actions on violations, which no other format supports."""
    losses = []
    if plan.unplanned_events_policy != "allow":
        losses.append(f"unplanned_events: {plan.unplanned_events_policy}")
    for rules in plan.rules():
        if rules.on_violation != "flag":
            losses.append(f"{rules.name}: on_violation: {rules.on_violation}")
        if rules.unplanned_properties not in ("allow", "flag"):
            losses.append(
                f"{rules.name}: unplanned_properties: {rules.unplanned_properties}; exported as violations"
            )
    return losses


def _documents(file: Path) -> list[Document]:
    """Read the documents of a JSON or YAML file. YAML includes JSON."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        found = [document for document in yaml.safe_load_all(text) if document is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{file}{line}: is neither valid JSON nor valid YAML.") from None
    wrapped: list[Document] = []
    for document in found:
        if isinstance(document, list):
            document = {"rules": document}
        if not isinstance(document, Mapping):
            raise UsageError(f"{file}: contains {json.dumps(document, default=str)[:40]} instead of a plan.")
        wrapped.append(dict(document))
    return wrapped


def _yaml(documents: Sequence[Document]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=110)
