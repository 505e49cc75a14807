"""Each destination that the sandbox plays, there and back: 1,200 people in, 100 changed, 300 out, while what
can go wrong does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from revetl.destinations import destination_class
from revetl.destinations.base.audiences import AdAudience
from revetl.inspect.match_rates import match_rates
from revetl.sandbox.setups import setups
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import only_fast

FAULTS: dict[str, list[dict[str, Any]]] = {
    "2 % of requests fail": [
        {"kind": "drop", "when": "before", "probability": 0.005},
        {"kind": "drop", "when": "after", "probability": 0.005},
        {"kind": "status", "status": 500, "probability": 0.01},
    ],
    "20 % of requests fail": [
        {"kind": "status", "status": 429, "retry_after": 0, "probability": 0.1},
        {"kind": "status", "status": 503, "probability": 0.1},
    ],
}

REPRESENTATIVE = {"braze", "customer_io", "polytomic", "salesforce", "twitter_ads", "webhook"}
"""One of each kind: profiles, events, a sync that is triggered, records that are answered one by one, an
audience of ads, and batches to any address. The long suite has the others."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Shown:
    """A file of tests/destinations/sandbox/: how the sandbox shows what a destination holds. `person` is what
    it calls person `i`, hashed where `hashed` is set, and `score` the field in which a change shows.
    `rejects`: it can refuse one record of many. `triggers`: it holds nobody, and a sync of its own is
    triggered for whatever has changed."""

    key: str = "user_id"
    person: str = "u{i}"
    hashed: bool = False
    score: str | None = None
    rejects: bool = True
    triggers: bool = False

    def called(self, i: int) -> str:
        """What the sandbox calls a person."""
        name = self.person.format(i=i)
        return hashlib.sha256(name.encode()).hexdigest() if self.hashed else name


def _shown(name: str) -> Shown:
    file = Path(__file__).parent / "sandbox" / f"{name}.json"
    return Shown(**orjson.loads(file.read_bytes()))


def people(first: int, last: int, score: str) -> str:
    """A query of people, with all that a destination may know somebody by."""
    return f"""
        select 'u' || i as user_id, 'u' || i || '@example.com' as email,
            '+4479' || lpad(cast(i as varchar), 8, '0') as phone, 'First' || i as first_name,
            'Last' || i as last_name, 'London' as city, 'GB' as country, 'N1C4AG' as postal_code,
            'Company ' || i as company, cast({score} as integer) as score
        from range({first}, {last}) as t (i)
    """


@pytest.mark.parametrize(
    "faults", [pytest.param(name, marks=[pytest.mark.long] if "20 %" in name else []) for name in FAULTS]
)
@pytest.mark.parametrize(
    "name",
    only_fast(sorted(setups()), *REPRESENTATIVE, rest=pytest.mark.long),
)
def test_what_is_held_is_the_audience(
    name: str, faults: str, tmp_path: Path, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, shown = setups()[name], _shown(name)
    # Small batches, for faults come by the request.
    made = destination_class(setup.type, name)
    monkeypatch.setattr(made, "batch", replace(made.batch, records=min(50, made.batch.records)))
    project = ProjectFolder(tmp_path / "shop", {name: {"retries": 12, **setup.destination(sandbox.url)}})
    meta = {"key": shown.key, "sync": [{"to": name, "max_change": "200%", **setup.sync}]}
    project.audience("vips", people(0, 1_200, "7"), meta)
    refused = [i for i in range(1_200) if shown.rejects and not shown.triggers and i % 50 == 33]
    names = "|".join(shown.called(i) for i in refused)
    sandbox.misbehave(*FAULTS[faults], *([{"kind": "reject", "pattern": f"^({names})$"}] if refused else []))
    _deliver(project)
    _compare(sandbox, name, shown, {i: 7 for i in range(1_200) if i not in refused})
    sandbox.misbehave(*FAULTS[faults])
    project.audience("vips", people(300, 1_200, "case when i < 400 then 9 else 7 end"))
    _deliver(project)
    sandbox.behave()
    _deliver(project, retry=True)
    _compare(sandbox, name, shown, {i: 9 if i < 400 else 7 for i in range(300, 1_200)})
    (plan,) = project.open().plan("vips")
    assert plan.changes == 0
    if issubclass(made, AdAudience):
        (found,) = match_rates(project.open().workspace, "vips")
        assert (found.held, found.at_least) == (900, 900)


def _deliver(project: ProjectFolder, *, retry: bool = False) -> None:
    """Sync until it is done: after a run that ends with unknown outcomes, one that sends them again."""
    for _ in range(6):
        (run,) = project.open().sync("vips", retry=retry)
        if run.unsent == 0 and run.status in ("success", "rejected"):
            return
    raise AssertionError(f"it never ended: {run}")


def _compare(sandbox: SandboxClient, name: str, shown: Shown, scores: dict[int, int]) -> None:
    if shown.triggers:
        assert any(entry["operation"] == "trigger" and entry["applied"] for entry in sandbox.requests(name))
        httpx.delete(f"{sandbox.url}/_/requests/{name}")
        return
    held = sandbox.members(name, "vips")
    assert set(held) == {shown.called(i) for i in scores}
    if shown.score is not None:
        found = {person: fields[shown.score] for person, fields in held.items()}
        assert found == {shown.called(i): score for i, score in scores.items()}
