#!/usr/bin/env bash
# One would guess: pycountry's fuzzy search, asked for the exact name of a country, answers with that country.
# So it is: the first answer to "Niger" is Nigeria, and to "Korea" it is North Korea, while `lookup` knows
# neither Turkey nor Russia nor the UK.
# Why it matters here: a country is hashed for ad audiences; with a fuzzy match everybody in Niger would be
# matched as in Nigeria. So common names are a table of ours, and nothing is guessed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pycountry==24.6.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import pycountry

print("pycountry", version("pycountry"))
fuzzy = {name: pycountry.countries.search_fuzzy(name)[0].alpha_2 for name in ("Niger", "Korea")}
print("first of search_fuzzy:", fuzzy)
unknown = []
for name in ("Turkey", "Russia", "UK"):
    try:
        pycountry.countries.lookup(name)
    except LookupError:
        unknown.append(name)
print("unknown to lookup:", unknown)
assert fuzzy == {"Niger": "NG", "Korea": "KP"}, fuzzy
assert unknown == ["Turkey", "Russia", "UK"], unknown
PYTHON
