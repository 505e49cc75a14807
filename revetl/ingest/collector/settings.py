"""The settings that Segment's and RudderStack's browser libraries fetch before they send."""

from __future__ import annotations

from typing import Any

from revetl.governance.tracking_plan import TrackingPlan
from revetl.governance.tracking_plan.policy import action_of

_ON: dict[str, Any] = {"enabled": True, "integrations": {}}
_OFF: dict[str, Any] = {"enabled": False, "integrations": {}}


def segment_settings(
    key: str, host: str, scheme: str, plan: TrackingPlan | None, source: str
) -> dict[str, Any]:
    """Return the settings for a write key. `host` is the collector's, as the browser knows it.

    `plan` names the events that the tracking plan blocks: analytics.js then keeps them from integrations that
    run in the page. They are sent to the collector in any case, which stores them, so that a corrected plan
    readmits them.
    """
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": key,
                "apiHost": f"{host}/v1",
                "protocol": scheme,
                "unbundledIntegrations": [],
                "addBundledMetadata": True,
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            }
        },
        "plan": {"track": _events(plan, source), "identify": {"__default": _ON}, "group": {"__default": _ON}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        # A sample rate of zero keeps the library's own metrics off the wire.
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def _events(plan: TrackingPlan | None, source: str) -> dict[str, Any]:
    if plan is None or action_of(plan.unplanned_events_policy, source) != "block":
        return {"__default": _ON}
    planned = {
        rules.event: _ON
        for rules in plan.rules()
        if rules.message_type == "track" and rules.event is not None
    }
    return {"__default": _OFF, **planned}


def rudderstack_settings(key: str, host: str, scheme: str, source: str) -> dict[str, Any]:
    """Return the source configuration that RudderStack's JavaScript SDK fetches from its control plane."""
    return {
        "source": {
            "id": source,
            "name": source,
            "writeKey": key,
            "enabled": True,
            "workspaceId": "revetl",
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "destinations": [],
            "dataplanes": {"US": [{"url": f"{scheme}://{host}", "default": True}]},
        },
        "updatedAt": "2026-01-01T00:00:00.000Z",
    }
