"""The six calls by PyPI's former analytics-python: python python_client.py HOST KEY."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import analytics  # type: ignore[import-not-found]

analytics.host, analytics.write_key = sys.argv[1:]
analytics.identify("u1", {"email": "jane@example.com", "plan": "Pro"})
moment = datetime(2024, 5, 6, 7, 8, 9, 123_000, UTC)
analytics.track("u1", "API Call Made", {"status_code": 201}, timestamp=moment)
analytics.page("u1", "Site", "Docs", {"path": "/docs"})
analytics.screen("u1", "Site", "Main", {"n": 1})
analytics.group("u1", "company_789", {"employees": 250})
analytics.alias("anon-1", "u1")
analytics.flush()
analytics.shutdown()
