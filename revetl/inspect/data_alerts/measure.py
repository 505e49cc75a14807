"""The values that checks need, computed by a few statements over whole tables, however many checks there
are."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlglot import exp

from revetl.config.data_alerts import DataCheck
from revetl.errors import WarehouseError
from revetl.inspect.data_alerts.subjects import NO_SOURCE, is_plain, matches
from revetl.inspect.data_alerts.verdict import Measurement
from revetl.project.workspace import Workspace
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import query, statement, table

Window = tuple[datetime, datetime]
"""After the first timestamp, up to and including the second."""

_STAGED = {
    "track": "stg_revetl__tracks",
    "identify": "stg_revetl__identifies",
    "group": "stg_revetl__groups",
    "page": "stg_revetl__pages",
    "screen": "stg_revetl__screens",
}
_VIOLATIONS, _PROFILES = "revetl_tracking_plan_violations", "revetl_events"


@dataclass(frozen=True)
class _Event:
    """An event (or other message type) of a source: when it was first and last received, and the number of
    messages per window."""

    message_type: str
    name: str
    source: str | None
    first: datetime
    last: datetime
    counts: tuple[int, ...]


@dataclass(frozen=True)
class _Build:
    """A build of an audience: its time, and how many people entered, left, and were members afterwards."""

    completed_at: datetime
    entered: int
    left: int
    members: int


@dataclass
class Measures:
    """The values for some checks as of `now`. Each statement runs at most once, on first use."""

    workspace: Workspace
    warehouse: Warehouse
    tables: StateTables
    checks: Sequence[DataCheck]
    now: datetime
    _windows: list[Window] = field(default_factory=list)
    _events: list[_Event] | None = None
    _broken: dict[tuple[str, str, str | None], tuple[int, ...]] | None = None
    _unplanned: dict[tuple[str | None, str], tuple[int, ...]] = field(default_factory=dict)
    _builds: dict[str, list[_Build]] | None = None
    _ends: list[datetime] | None = None

    def of(self, check: DataCheck) -> list[Measurement]:
        """Return the values of a check, one per subject."""
        match check.check:
            case "violations":
                return self._violations_of(check)
            case "volume":
                return self._volume_of(check)
            case "new_events":
                return self._new_events_of(check)
            case "audience_size" | "churn":
                return self._audiences_of(check)
            case "unmatched":
                return self._unmatched_of(check) if check.sync is None else self._invalid_of(check)
            case "freshness":
                return self._ages_of(check)

    # Messages

    def _violations_of(self, check: DataCheck) -> list[Measurement]:
        place = self._place(self._recent(check))
        totals: dict[str, list[float]] = {}
        for event in self._received(check):
            totals.setdefault(self._subject(check, event), [0, 0])[1] += event.counts[place]
        for (kind, name, source), counts in self._violating().items():
            event = _Event(kind, name, source, self.now, self.now, counts)
            if self._is_asked(check, event):
                totals.setdefault(self._subject(check, event), [0, 0])[0] += counts[place]
        return [
            Measurement(subject, broken, total=total, note=f"See {_VIOLATIONS}." if broken else "")
            for subject, (broken, total) in totals.items()
        ]

    def _volume_of(self, check: DataCheck) -> list[Measurement]:
        recent = self._place(self._recent(check))
        builds = [self._place(window) for window in self._build_windows(check)]
        values: dict[str, list[float]] = {}
        if is_plain(check.source) and check.event is None:
            values[str(check.source)] = [0.0] * len(self._all_windows())
        for event in self._received(check):
            found = values.setdefault(self._subject(check, event), [0.0] * len(event.counts))
            for place, count in enumerate(event.counts):
                found[place] += count
        made = []
        for subject, counts in values.items():
            rates = [counts[place] / self._hours(place) for place in builds]
            before, current = (tuple(rates[1:]), rates[0]) if rates else ((), None)
            note = "Messages per hour, from build to build." if check.is_relative else ""
            made.append(Measurement(subject, counts[recent], before=before, current=current, note=note))
        return made

    def _new_events_of(self, check: DataCheck) -> list[Measurement]:
        window = self._recent(check)
        place = self._place(window)
        known: dict[str | None, datetime] = {}
        names: dict[str, set[str]] = {}
        events = list(self._received(check))
        for event in events:
            known[event.source] = min(event.first, known.get(event.source, event.first))
        for event in events:
            found = names.setdefault(self._subject(check, event), set())
            # In a source whose first messages fall into the window, no event counts as new.
            if event.message_type == "track" and event.first > window[0] >= known[event.source]:
                found.add(event.name)
        self._violating()
        for (source, name), counts in self._unplanned.items():
            if counts[place] and matches(check.source, source):
                names.setdefault(source or NO_SOURCE, set()).add(name)
        return [
            Measurement(subject, len(found), names=tuple(sorted(found)[:20]))
            for subject, found in names.items()
        ]

    def _unmatched_of(self, check: DataCheck) -> list[Measurement]:
        window = self._recent(check)
        profiles = self._built(_PROFILES)
        selects = [
            f"select '{kind}' as kind, m.message_id, m.source_id, "  # noqa: S608
            f"coalesce(m.received_at, m.loaded_at) as seen from :{kind} as m"
            for kind in _STAGED
        ]
        rows = self.warehouse.rows(
            statement(
                "select m.source_id, count(*), count(p.message_id) from ("  # noqa: S608
                + " union all ".join(selects)
                + ") as m left join :profiles as p on p.source = m.kind and p.message_id = m.message_id "
                "where m.seen > :since and m.seen <= :until group by m.source_id",
                profiles=profiles,
                since=window[0],
                until=window[1],
                **{kind: self._built(name) for kind, name in _STAGED.items()},
            )
        )
        return [
            Measurement(source or NO_SOURCE, 1 - int(matched) / int(count), "share")
            for source, count, matched in rows
            if count and matches(check.source, source)
        ]

    def _place(self, window: Window) -> int:
        return self._all_windows().index(window)

    def _hours(self, place: int) -> float:
        begin, end = self._all_windows()[place]
        return max((end - begin).total_seconds() / 3_600, 1 / 60)

    def _recent(self, check: DataCheck) -> Window:
        return self.now - timedelta(seconds=check.within), self.now

    def _build_windows(self, check: DataCheck) -> list[Window]:
        """Return the windows between builds, latest first."""
        if not check.is_relative:
            return []
        ends = self._build_ends()[: check.builds + 2]
        return [(begin, end) for end, begin in itertools.pairwise(ends)]

    def _all_windows(self) -> list[Window]:
        if not self._windows:
            kinds = ("violations", "volume", "new_events")
            windows = [self._recent(check) for check in self.checks if check.check in kinds]
            for check in self.checks:
                if check.check == "volume":
                    windows += self._build_windows(check)
            self._windows = list(dict.fromkeys(windows)) or [(self.now, self.now)]
        return self._windows

    def _build_ends(self) -> list[datetime]:
        """Return when the builds ended, latest first."""
        if self._ends is None:
            most = max(check.builds for check in self.checks) + 2
            rows = self.warehouse.rows(
                statement(
                    "select max(completed_at) as ended from :builds as b where completed_at <= :now "
                    "and :of_this_target group by invocation_id order by ended desc limit :n",
                    builds=self.tables.named("audience_builds"),
                    of_this_target=self.tables.of_this_target("b"),
                    now=self.now,
                    n=most,
                )
            )
            self._ends = [ended for (ended,) in rows]
        return self._ends

    def _received(self, check: DataCheck) -> Iterable[_Event]:
        return (event for event in self._all_events() if self._is_asked(check, event))

    def _is_asked(self, check: DataCheck, event: _Event) -> bool:
        return matches(check.source, event.source) and (
            check.event is None or matches(check.event, event.name)
        )

    def _subject(self, check: DataCheck, event: _Event) -> str:
        source = event.source or NO_SOURCE
        return source if check.event is None else f"{event.name} from {source}"

    def _all_events(self) -> list[_Event]:
        """Read the staged messages, and the blocked ones, in a single scan."""
        if self._events is None:
            windows = self._all_windows()
            names = {kind: "m.event_text" if kind == "track" else f"'{kind}'" for kind in _STAGED}
            selects = [
                f"select '{kind}' as kind, {names[kind]} as event, m.source_id, "  # noqa: S608
                f"coalesce(m.received_at, m.loaded_at) as seen from :{kind} as m"
                for kind in _STAGED
            ]
            selects.append(
                "select v.message_type as kind, coalesce(v.event, v.message_type) as event, v.source_id, "
                "max(v.received_at) as seen from :violations as v where v.action = 'block' "
                "group by v.message_type, v.message_id, v.event, v.source_id"
            )
            counts = self._counted(windows, "seen")
            rows = self.warehouse.rows(
                statement(
                    f"select kind, event, source_id, min(seen), max(seen), {counts} from ("  # noqa: S608
                    + " union all ".join(selects)
                    + ") as m where seen is not null and seen <= :now group by kind, event, source_id",
                    violations=self._built(_VIOLATIONS),
                    now=self.now,
                    **self._moments(windows),
                    **{kind: self._built(name) for kind, name in _STAGED.items()},
                )
            )
            self._events = [
                _Event(kind, event or kind, source, first, last, tuple(int(each) for each in counts_of))
                for kind, event, source, first, last, *counts_of in rows
            ]
        return self._events

    def _violating(self) -> dict[tuple[str, str, str | None], tuple[int, ...]]:
        """Return the number of messages that violate the plan, per event, source and window."""
        if self._broken is None:
            windows = self._all_windows()
            counts = self._counted(windows, "seen")
            rows = self.warehouse.rows(
                statement(
                    f"select kind, event, source_id, is_unplanned, {counts} from ("  # noqa: S608
                    "select v.message_type as kind, coalesce(v.event, v.message_type) as event, v.source_id, "
                    "max(case when v.rule_name = 'unplanned_event' then 1 else 0 end) as is_unplanned, "
                    "max(v.received_at) as seen from :violations as v "
                    "group by v.message_type, v.message_id, v.event, v.source_id"
                    ") as m where seen <= :now group by kind, event, source_id, is_unplanned",
                    violations=self._built(_VIOLATIONS),
                    now=self.now,
                    **self._moments(windows),
                )
            )
            self._broken = {}
            for kind, event, source, is_unplanned, *counts_of in rows:
                about = (str(kind), str(event or kind), source)
                here = tuple(int(each) for each in counts_of)
                before = self._broken.get(about, (0,) * len(here))
                self._broken[about] = tuple(map(sum, zip(before, here, strict=True)))
                if int(is_unplanned):
                    self._unplanned[source, about[1]] = here
        return self._broken

    @staticmethod
    def _counted(windows: Sequence[Window], moment: str) -> str:
        return ", ".join(
            f"sum(case when {moment} > :begin_{place} and {moment} <= :end_{place} then 1 else 0 end)"
            for place in range(len(windows))
        )

    @staticmethod
    def _moments(windows: Sequence[Window]) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        for place, (begin, end) in enumerate(windows):
            found |= {f"begin_{place}": begin, f"end_{place}": end}
        return found

    def _built(self, name: str) -> exp.Table:
        relations = self.workspace.manifest.relations()
        if name not in relations:
            raise WarehouseError(f"dbt has no model '{name}', which the checks need. Enable it.")
        alias, schema, database = relations[name]
        relation = table(alias, schema, database)
        if not self.warehouse.exists(relation):
            raise WarehouseError(f"{name} does not exist in the warehouse. Run `dbt build --select +{name}`.")
        return relation

    # Audiences and syncs

    def _audiences_of(self, check: DataCheck) -> list[Measurement]:
        names = [model.name for model in self.workspace.models() if matches(check.audience, model.name)]
        made = []
        for name in names:
            builds = self._all_builds().get(name, [])
            if not builds:
                continue
            before = builds[1 : check.builds + 1]
            if check.check == "audience_size":
                values = [float(build.members) for build in before]
                made.append(Measurement(name, builds[0].members, before=tuple(values)))
                continue
            # The first build has no previous members who could leave.
            shares = [_churn(build) for build in before if _size_before(build)]
            made.append(
                Measurement(
                    name,
                    builds[0].left,
                    total=_size_before(builds[0]),
                    before=tuple(shares),
                    current=_churn(builds[0]),
                    note="Left in the last build.",
                )
            )
        return made

    def _all_builds(self) -> dict[str, list[_Build]]:
        """Return the last builds of each audience, latest first."""
        if self._builds is None:
            most = max(check.builds for check in self.checks) + 1
            rows = self.warehouse.rows(
                query(
                    """
                    with counted as (
                        select audience, invocation_id, sum(came) as came, sum(gone) as gone,
                            max(ended) as ended
                        from (
                            select c.audience, c.invocation_id,
                                case when c.change = 'entered' then 1 else 0 end as came,
                                case when c.change = 'left' then 1 else 0 end as gone, c.recorded_at as ended
                            from :changes as c where :changed_here
                            union all
                            select b.audience, b.invocation_id, 0 as came, 0 as gone, b.completed_at as ended
                            from :builds as b where :built_here
                        ) as found
                        group by audience, invocation_id
                    ), summed as (
                        select audience, ended, came, gone,
                            sum(came - gone) over (
                                partition by audience order by ended
                                rows between unbounded preceding and current row
                            ) as members,
                            row_number() over (partition by audience order by ended desc) as place
                        from counted where ended <= :now
                    )
                    select audience, ended, came, gone, members from summed where place <= :n
                    order by audience, place
                    """,
                    changes=self.tables.named("audience_changes"),
                    changed_here=self.tables.of_this_target("c"),
                    built_here=self.tables.of_this_target("b"),
                    builds=self.tables.named("audience_builds"),
                    now=self.now,
                    n=most,
                )
            )
            self._builds = {}
            for audience, ended, came, gone, members in rows:
                build = _Build(ended, int(came), int(gone), int(members))
                self._builds.setdefault(audience, []).append(build)
        return self._builds

    def _ages_of(self, check: DataCheck) -> list[Measurement]:
        last: dict[str, datetime | None] = {}
        if check.audience is not None:
            names = [model.name for model in self.workspace.models() if matches(check.audience, model.name)]
            builds = self._all_builds()
            last = {name: builds[name][0].completed_at if name in builds else None for name in names}
        else:
            if is_plain(check.source):
                last[str(check.source)] = None
            for event in self._received(check):
                subject = event.source or NO_SOURCE
                last[subject] = max(event.last, last.get(subject) or event.last)
        made = []
        for subject, moment in last.items():
            age = None if moment is None else max((self.now - moment).total_seconds(), 0.0)
            note = "" if moment is None else f"Last: {moment:%Y-%m-%d %H:%M} UTC."
            made.append(Measurement(subject, age, "seconds", note=note))
        return made

    def _invalid_of(self, check: DataCheck) -> list[Measurement]:
        """Return the share of the audience with an invalid identifier, in the last run of each sync."""
        rows = self.warehouse.rows(
            query(
                """
                select sync, audience_rows, invalid_identifiers from (
                    select r.sync, r.audience_rows, r.invalid_identifiers,
                        row_number() over (partition by r.sync order by r.started_at desc) as place
                    from :runs as r where r.status in ('success', 'rejected')
                ) as numbered where place = 1
                """,
                runs=self.tables.runs,
            )
        )
        made = []
        for sync, members, invalid in rows:
            if not members or not matches(check.sync, sync):
                continue
            counts = {str(name): int(count) for name, count in json.loads(invalid or "{}").items()}
            worst = max(counts.values(), default=0)
            note = ", ".join(f"{name}: {count:,} invalid" for name, count in counts.items())
            made.append(Measurement(sync, min(worst / int(members), 1.0), "share", note=note))
        return made


def _size_before(build: _Build) -> int:
    return build.members - build.entered + build.left


def _churn(build: _Build) -> float:
    size = _size_before(build)
    return build.left / size if size else 0.0
