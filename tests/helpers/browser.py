"""A browser that signs in at tests/helpers/provider.py: `python -m tests.helpers.browser HOW ADDRESS`.

HOW is what its user does: `allow`, `deny`, `stray` (another page sends the browser to the redirect first), or
`copy`, which prints the address that the redirect leads to and does not follow it.
"""

from __future__ import annotations

import re
import sys
from urllib.parse import parse_qsl, urlsplit

import httpx


def browse(how: str, address: str) -> str:
    """The address that the browser ends on."""
    from tests.helpers.provider import PASSWORD, USER

    url = urlsplit(address)
    base = f"{url.scheme}://{url.netloc}"
    with httpx.Client(timeout=20) as browser:
        browser.post(f"{base}/login/", data={"username": USER, "password": PASSWORD}).raise_for_status()
        page = browser.get(address)
        if page.status_code == 302 and "/authorize/" in page.headers["location"]:
            address = f"{base}{page.headers['location']}"
            url = urlsplit(address)
            page = browser.get(address)
        if page.status_code == 302:
            # A request that the provider does not take, such as one without PKCE.
            redirected = page
        else:
            page.raise_for_status()
            hidden = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
            form = {name: httpx.URL(f"http://x/?v={value}").params["v"] for name, value in hidden.items()}
            if how == "deny":
                form.pop("allow", None)
            query = dict(parse_qsl(url.query))
            form |= {
                name: query[name] for name in ("state", "redirect_uri", "code_challenge") if name in query
            }
            redirected = browser.post(address, data=form)
        target = redirected.headers["location"]
        if how == "copy":
            return target
        if how == "stray":
            wrong = httpx.URL(target).copy_set_param("state", "of-somebody-else")
            assert browser.get(wrong).status_code == 400
        browser.get(target)
        return target


if __name__ == "__main__":
    print(browse(sys.argv[1], sys.argv[2]))
