"""What is wrong with a value is said in plain words, with what is expected."""

from __future__ import annotations

from typing import Any

import pytest

from revetl.config.base import problems
from revetl.config.models import AudienceConfig, RevetlConfig
from revetl.destinations import destination_class


def of_sync(**keys: Any) -> dict[str, Any]:
    return {"key": "user_id", "sync": [{"to": "crm", **keys}]}


MISTAKES: dict[str, tuple[Any, str]] = {
    "a share as a percentage without its sign": (
        of_sync(max_change=30),
        "sync.0.max_change: '30' is more than 1, which is everybody; use 30%, or a share from 0 to 1.",
    ),
    "a negative share": (
        of_sync(max_change="-5%"),
        "sync.0.max_change: '-5%' is less than nothing; use a share from 0 to 1, such as 0.1, or 10%.",
    ),
    "a share that is not a number": (
        of_sync(holdout="nan"),
        "sync.0.holdout: 'nan' is not a valid fraction; use 10% or 0.1.",
    ),
    "everybody held out": (of_sync(holdout="100%"), "sync.0.holdout: Must be less than 1."),
    "a number as text": (of_sync(limit="ten"), "sync.0.limit: Must be a whole number."),
    "a fraction of a person": (
        of_sync(limit=1.5),
        "sync.0.limit: 1.5 is not valid. It must be a whole number.",
    ),
    "a negative limit": (of_sync(limit=-1), "sync.0.limit: -1 is not valid. It must be 0 or more."),
    "a word for a boolean": (of_sync(enabled="maybe"), "sync.0.enabled: Must be true or false."),
    "a list for a mapping": (of_sync(identifiers=["email"]), "sync.0.identifiers: Must be a mapping"),
    "a number for a name": (of_sync(to=7), "sync.0.to: 7 is not valid. It must be text; quote the value."),
    "one variant": (
        {"key": "user_id", "split": {"a": 1}},
        "split: Must have at least 2 entries.",
    ),
}


@pytest.mark.parametrize(("meta", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_value_of_an_audience(meta: Any, sentence: str) -> None:
    ((_, found),) = problems(AudienceConfig, meta, "vips")
    assert found.startswith(f"vips: {sentence}")


def test_an_alert_share_of_more_than_everything() -> None:
    alert = {"to": "json://x", "rejection_rate": 5}
    ((_, found),) = problems(RevetlConfig, {"alerts": [alert]}, "revetl.yml")
    assert found == (
        "revetl.yml: alerts.0.rejection_rate: '5' is more than 1, which is everybody; use 5%, or a share "
        "from 0 to 1."
    )


def test_the_text_of_a_setting_is_not_shown_for_it_may_be_a_secret() -> None:
    config = {"type": "webhook", "url": "http://x", "batch_size": "s3cr3t"}
    ((_, found),) = problems(destination_class("webhook", "crm"), config, "crm")
    assert found == "crm: batch_size: Must be a whole number."
