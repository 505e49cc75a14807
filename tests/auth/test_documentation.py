"""docs/how-to/signing-in.md: the table of providers. REVETL_WRITE_GOLDEN=1 writes it."""

from __future__ import annotations

import os
from pathlib import Path

from revetl.destinations.auth.providers import PROVIDERS, Provider

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "signing-in.md"
SHEETS = PAGE.parents[1] / "destinations"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
HEAD = (
    "| destination | provider, and where an app is registered | authorize, token | redirect | PKCE | secret "
    "| scopes | tokens expire | revoked by `--remove` | sources |\n" + "|---" * 10 + "|\n"
)
REDIRECTS = {
    "127.0.0.1": "`http://127.0.0.1:{port}/callback`",
    "localhost": "`http://localhost:{port}/callback`",
    "https": "https only: `redirect_uri` and `--paste`",
}


def _row(kind: str, rules: Provider) -> str:
    port = "ANY" if rules.any_port else "8910"
    name, _, variant = kind.partition(".")
    urls = [rules.request_token_url, rules.authorize_url, rules.token_url]
    cells = [
        f"{name}" + (f" (`{variant}`)" if variant else ""),
        f"{rules.name}: {rules.register}" + (" (OAuth 1.0a)" if rules.is_oauth1 else ""),
        ", ".join(f"`{url}`" for url in urls if url),
        REDIRECTS[rules.redirect].format(port=port),
        "S256" if rules.pkce else "no",
        "required" if rules.has_secret else "if the app has one",
        ", ".join(f"`{scope}`" for scope in rules.scopes) or "those of the app",
        "yes, renewed" if rules.expires else "no",
        "yes" if rules.revoke_url else "no",
        ", ".join(f"[{at}]({url})" for at, url in enumerate(rules.sources, 1)),
    ]
    return "| " + " | ".join(cells) + " |\n"


def test_the_page_has_the_rules_of_every_provider() -> None:
    rows = [_row(kind, rules) for kind, rules in sorted(PROVIDERS.items())]
    table = BEGIN + HEAD + "".join(rows) + END
    text = PAGE.read_text(encoding="utf-8")
    start, end = text.index(BEGIN), text.index(END) + len(END)
    if os.environ.get("REVETL_WRITE_GOLDEN"):
        PAGE.write_text(text[:start] + table + text[end:], encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8")[start : start + len(table)] == table


def test_the_sheet_of_each_destination_says_that_there_is_a_sign_in() -> None:
    kinds = {kind.partition(".")[0] for kind in PROVIDERS}
    silent = [
        kind
        for kind in sorted(kinds)
        if "[sign-in](../how-to/signing-in.md)" not in (SHEETS / f"{kind}.md").read_text(encoding="utf-8")
    ]
    assert silent == []
