"""Names, keys and identifiers that break naive statements: sent as they are, told apart, taken out again."""

from __future__ import annotations

from tests.helpers.project import ProjectFolder
from tests.scenarios.losses.recorder import META, Bodies, left, quoted, records
from tests.sync.test_sync import synced

NAMES = [
    "select",
    "a b",
    'say "hi"',
    "it's",
    "a.b",
    "a/b~c",
    "héé 😀",
    "$.x",
    "1",
    "table; drop table vips",
    "%s",
]


def test_columns_may_have_any_names(project: ProjectFolder, kept: Bodies) -> None:
    columns = ", ".join(f"{number} as {quoted(name)}" for number, name in enumerate(NAMES))
    project.sql(f"create table given as select 'u1' as user_id, {columns}")
    project.audience("vips", "select * from given", META)
    assert synced(project).status == "success"
    fields = {name: number for number, name in enumerate(NAMES)}
    assert [record["fields"] for record in records(kept)] == [fields]
    # Read back from the state by name: what another hash maker hashed is compared field by field.
    project.sql("update revetl.revetl.sync_state set hash_by = 'another', row_hash = 0")
    assert sum(synced(project).planned.values()) == 0
    for name in NAMES:
        project.sql(f"update given set {quoted(name)} = -1")
    project.audience("vips", "select * from given")
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    assert plan.preview.changed_fields == dict.fromkeys(NAMES, 1)
    assert synced(project).delivered["update"] == 1


KEYS = [
    "o'neill",
    'say "hi"',
    "a\\b",
    "😀",
    "'); drop table vips; --",
    "a\nb",
    "a\0b",
    "%",
    "{{ x }}",
    "x" * 100_000,
    # As the state words an identifier that is still to be removed.
    'u1 was {"id": "u2"}',
]
NOBODY = ["", " ", "\ufeff", "null"]
"""Keys of rows that, as identifiers, are of nobody."""


def test_fields_may_be_sent_under_any_names(project: ProjectFolder, kept: Bodies) -> None:
    names = ["a/b", "a~1b", 'say "hi"', "it's", "a.b", "$", "", "select"]
    meta = {"key": "user_id", "sync": [{"to": "crm", "fields": dict.fromkeys(names, "score")}]}
    project.audience("vips", "select 'u1' as user_id, 1 as score", meta)
    synced(project)
    project.audience("vips", "select 'u1' as user_id, 2 as score")
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    assert plan.preview.changed_fields == dict.fromkeys(names, 1)
    synced(project)
    assert [record["fields"] for record in records(kept)] == [
        dict.fromkeys(names, 1),
        dict.fromkeys(names, 2),
    ]


def test_keys_may_be_any_texts_and_name_the_person_to_the_end(project: ProjectFolder, kept: Bodies) -> None:
    project.sql("create table given (user_id varchar, score int)")
    for key in (*KEYS, *NOBODY):
        project.sql("insert into given values (?, 1)", key)
    project.audience("vips", "select * from given", META)
    synced(project)
    assert sum(synced(project).planned.values()) == 0
    assert [record["id"] for record in records(kept)] == KEYS
    assert sorted(each["key"] for each in project.open().rejections()) == sorted(NOBODY)
    assert left(project, kept) == ({"remove"}, KEYS)


def test_identifiers_may_be_any_texts_and_are_taken_out_when_they_change(
    project: ProjectFolder, kept: Bodies
) -> None:
    project.sql("create table given (person int, name varchar, score int)")
    for number, name in enumerate(KEYS):
        project.sql("insert into given values (?, ?, 1)", number, name)
    fields = {"score": "score"}
    meta = {"key": "person", "sync": [{"to": "crm", "identifiers": {"id": "name"}, "fields": fields}]}
    project.audience("vips", "select * from given", meta)
    synced(project)
    assert sum(synced(project).planned.values()) == 0
    project.audience("vips", "select person, name || '2' as name, score from given")
    synced(project, force=["max_change"])
    sent = [(body["operation"], sorted(record["id"] for record in body["records"])) for body in kept]
    changed = sorted(name + "2" for name in KEYS)
    assert sent == [("add", sorted(KEYS)), ("remove", sorted(KEYS)), ("add", changed)]
    operations, removed = left(project, kept)
    assert (operations, sorted(removed)) == ({"remove"}, changed)


def test_keys_that_look_alike_are_as_many_people(project: ProjectFolder, kept: Bodies) -> None:
    keys = ["a", "A", "a ", " a", "\u00e9", "e\u0301", "1", "01", "1.0"]
    project.sql("create table given (user_id varchar)")
    for key in keys:
        project.sql("insert into given values (?)", key)
    project.audience("vips", "select * from given", {"key": "user_id", "sync": [{"to": "crm"}]})
    synced(project)
    assert sorted(record["id"] for record in records(kept)) == sorted(keys)
    project.audience("vips", "select * from given where user_id not in ('a', '\u00e9')")
    del kept[:]
    assert synced(project, force=["max_change"]).delivered["remove"] == 2
    assert {record["id"] for record in records(kept)} == {"a", "\u00e9"}
