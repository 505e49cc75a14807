#!/usr/bin/env bash
# One would guess: authlib's `parse_authorization_code_response`, given the redirect of a user who denied access
# (RFC 6749, section 4.1.2.1: error=access_denied), raises an error that says so, and checks `state` first, as
# oauthlib's does.
# So it is: it looks for `code` before anything else. A denial, and a redirect with a forged state and no code,
# are both "Missing 'code' in response": the reason is lost, and the state was never compared.
# Why it matters here: `revetl auth` ignores a redirect of another page and tells a user who denied access that
# they did; by this function neither could be known. So the redirect is read here, and only the authorization
# address and the PKCE challenge are authlib's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check authlib==1.6.5 oauthlib==3.3.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from authlib.oauth2.rfc6749.parameters import parse_authorization_code_response
from oauthlib.oauth2 import WebApplicationClient

print("authlib", version("authlib"), "oauthlib", version("oauthlib"))


def raised(parse, *arguments, **options):
    try:
        parse(*arguments, **options)
    except Exception as error:
        return type(error).__name__
    return None


REDIRECT = "https://127.0.0.1/callback?error=access_denied&state="
found = {
    state: (
        raised(parse_authorization_code_response, REDIRECT + state, "ours"),
        raised(WebApplicationClient("app").parse_request_uri_response, REDIRECT + state, state="ours"),
    )
    for state in ("ours", "forged")
}
for state, (authlib, oauthlib) in found.items():
    print(f"denied, state {state}: authlib {authlib}, oauthlib {oauthlib}")
assert found == {
    "ours": ("MissingCodeException", "AccessDeniedError"),
    "forged": ("MissingCodeException", "MismatchingStateError"),
}, found
PYTHON
