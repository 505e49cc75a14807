"""Templates of a webhook: whatever a record holds, a body keeps the form of its template, and a request its
address."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote

import orjson
import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from revetl.config.jinja import render
from revetl.destinations import make_destination
from revetl.destinations.base.destination import Record, Records, Refused
from revetl.destinations.webhook.destination import Webhook
from revetl.destinations.webhook.template import NoAddress, address, filled
from revetl.errors import UsageError

URL = "https://hooks.example.com/in"
NASTY = [
    '"}, "admin": true, {"a": "',
    "${id}",
    "{{ env_var('HOME') }}",
    "\\",
    "\u2028",
    "../..",
    "?a=b#c&d",
    "%2e",
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(NASTY)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=8)
TEMPLATE = {
    "admin": False,
    "person": {"id": "${id}", "email": "${fields.email}", "all": "${fields}"},
    "note": "about ${fields.email}, of ${ audience }",
    "fixed": ["a", 1, None, "$${id}"],
}


def webhook(**config: Any) -> Webhook:
    made = make_destination({"type": "webhook", "url": URL, **config}, "revetl.yml: destinations.crm")
    assert isinstance(made, Webhook)
    return made


def records_of(*given: tuple[Any, dict[str, Any]], audience: str = "vips") -> Records:
    records = tuple(Record("k", {"id": person}, fields, "run") for person, fields in given)
    return Records("vips.crm", audience, "run", "add", records)


def body_of(made: Webhook, records: Records) -> Any:
    request = made.request_of(records, "add", create=True)
    return orjson.loads(request.content)


@given(person=TEXTS, email=VALUES, audience=TEXTS)
def test_no_value_breaks_out_of_its_place(person: str, email: Any, audience: str) -> None:
    body = body_of(webhook(body=TEMPLATE), records_of((person, {"email": email}), audience=audience))
    assert body.pop("note").endswith(f", of {audience}")
    assert body == {
        "admin": False,
        "person": {"id": person, "email": email, "all": {"email": email}},
        "fixed": ["a", 1, None, "${id}"],
    }


def test_placeholders_live_beside_what_revetl_yml_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hush")
    written = {
        "key": "{{ env_var('KEY') }}",
        "id": "${id}",
        "n": 1,
        "note": "{{ env_var('KEY') }}: ${fields.email}",
    }
    assert render(written, "revetl.yml") == {
        "key": "hush",
        "id": "${id}",
        "n": 1,
        "note": "hush: ${fields.email}",
    }


def test_an_error_about_jinja_braces_shows_the_braces_of_fields() -> None:
    with pytest.raises(UsageError, match=r" Write \$\{fields\.NAME\} for a field of the record\.$"):
        render({"body": {"a": "{{ fields.email }}"}}, "revetl.yml: destinations.crm")


@given(people=st.lists(st.tuples(TEXTS, st.fixed_dictionaries({"score": VALUES})), min_size=1, max_size=5))
def test_a_batch_has_a_record_each(people: list[tuple[str, dict[str, Any]]]) -> None:
    made = webhook(
        body={"people": "${records}", "op": "${operation}"}, record=["${id}", {"s": "${fields.score}"}]
    )
    body = body_of(made, records_of(*people))
    assert body == {"people": [[person, {"s": fields["score"]}] for person, fields in people], "op": "add"}


@given(person=TEXTS)
def test_a_url_stays_at_its_host_and_path(person: str) -> None:
    made = webhook(url="https://api.example.com/people/${id}/tags?of=${id}", body={"id": "${id}"})
    flow = made.upsert(records_of((person, {})))
    if person in ("", ".", ".."):
        with pytest.raises(StopIteration) as ended:
            next(flow)
        assert list(ended.value.value.rejected) == [0]
        return
    url = next(flow).url  # type: ignore[union-attr]
    assert (url.scheme, url.host, url.fragment) == ("https", "api.example.com", "")
    # The client that sends it reads it once more, and leaves it as it was signed.
    assert yarl.URL(str(url)).raw_path_qs == url.raw_path.decode()
    raw, _, query = url.raw_path.decode().partition("?")
    assert (raw.count("/"), raw.endswith("/tags")) == (3, True)
    assert parse_qs(query, keep_blank_values=True) == {"of": [person]}
    assert unquote(raw.split("/")[2]) == person


def test_values_keep_their_types_alone_and_are_texts_among_others() -> None:
    values = {"a": 1.5, "b": None, "c": {"d": True, "e.f": 2}, "id": "x"}
    template = {
        "a": "${a}",
        "b": "${b}",
        "d": "${c.d}",
        "f": "${c.e.f}",
        "none": "${c.z}",
        "t": "<${a}|${b}|${c.d}>",
    }
    assert filled(template, values) == {
        "a": 1.5,
        "b": None,
        "d": True,
        "f": 2,
        "none": None,
        "t": "<1.5||true>",
    }
    assert address("https://x.example.com/$${a}/${a}", values) == "https://x.example.com/${a}/1.5"
    with pytest.raises(NoAddress, match="its b is ''"):
        address("https://x.example.com/${b}", values)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"body": {"a": "${fielts.x}"}}, "body: unknown placeholder '${fielts.x}'. Did you mean 'fields'?"),
        ({"body": {"a": "${identifiers.email}"}}, "body: unknown identifier in '${identifiers.email}'"),
        ({"body": {"a": "${audience.name}"}}, "Write '${audience}'"),
        ({"body": {"${id}": 1}}, "the key '${id}' contains a placeholder"),
        ({"body": {"a": "${records}", "b": "${id}"}}, "body: unknown placeholder '${id}'"),
        ({"body": {"a": "${id}"}, "batch": True}, "body: lacks '${records}'"),
        ({"body": {"a": "${records}"}, "batch": False}, "'${records}' is for batches"),
        ({"body": {"a": "${id}"}, "record": {}}, "record: defines the items of '${records}' in body"),
        ({"body": {1: "${id}"}}, "body: is not valid JSON"),
        (
            {"urls": {"remove": "https://${id}.example.com/"}},
            "urls.remove: a URL must start with https:// and a host",
        ),
        (
            {"urls": {"remove": "https://a.example.com/${records}"}, "body": ["${records}"]},
            "unknown placeholder",
        ),
        ({"url": "https://a.example.com/${nobody}"}, "url: unknown placeholder '${nobody}'"),
        ({"urls": {"move": URL}}, "urls.move: 'move' is not known. Did you mean 'remove'?"),
        ({"method": "GET"}, "'GET' is not known. There are: DELETE"),
        ({"oauth": {"token_url": URL, "client_id": "me"}}, "oauth: Set client_secret"),
        ({"oauth": {"token_url": URL, "client_id": "me", "secret": "x"}}, "unknown key 'secret'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        webhook(**config)
    assert str(error.value).startswith("revetl.yml: destinations.crm")
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("config", "more", "sentence"),
    [
        (
            {"body": "${fields.emial}"},
            {},
            "body: '${fields.emial}': this sync does not send a field 'emial'. Did you mean 'email'?",
        ),
        ({"body": ["${records}"], "record": "${fields.scor}"}, {}, "record: '${fields.scor}'"),
        ({"url": URL + "/${fields.x}", "batch": False}, {}, "url: '${fields.x}'"),
        ({"body": "${fields.email}"}, {"set_if_empty": ("email",)}, "set_if_empty: body does not include it"),
    ],
)
def test_a_field_that_is_not_sent_is_refused(
    config: dict[str, Any], more: dict[str, Any], sentence: str
) -> None:
    whole = Records("vips.crm", "vips", "run", "add", (), **more)
    with pytest.raises(Refused) as error:
        list(webhook(**config).prepare("mirror", whole, {"email": "VARCHAR", "score": "BIGINT"}))
    assert sentence in str(error.value)


def test_secrets_of_every_part_are_known() -> None:
    oauth = {"token_url": URL, "client_id": "me", "client_secret": "hush-1", "refresh_token": "hush-2"}
    made = webhook(
        secret="hush-0",
        headers={"X-Team": "growth", "X-Api-Key": "hush-3"},
        oauth=oauth,
        client_certificate={"certificate": "c.pem", "password": "hush-4"},
        body={"api_key": "hush-5", "key": "${id}", "list": [{"token": "hush-6"}], "id": "${id}"},
    )
    assert set(made.secrets()) == {f"hush-{n}" for n in range(7)}
    assert set(Webhook.secret_names()) == {
        "secret",
        "oauth.client_secret",
        "oauth.refresh_token",
        "client_certificate.password",
    }
