#!/usr/bin/env bash
# One would guess: the formatter that Google publishes for the Data Manager API (google-ads-datamanager-util) normalizes
# names as Google's own message types (google-ads-datamanager) say, and phone numbers to the E.164 that they ask for.
# So it is: AddressInfo asks for names "with no punctuation", and the formatter keeps it (O'Neil is hashed with its
# apostrophe); and of a national number it takes the digits and puts a + before them, so (800) 555-0100 becomes
# +8005550100, which has the country code of international freephone numbers instead of +1.
# Why it matters here: a hash of another text matches nobody, and no API says so. google_ads and google_conversions follow
# the formatter in names, which is what Google's samples send, and read national numbers by phone_region first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "google-ads-datamanager==0.9.4" "google-ads-datamanager-util==0.4.0"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from google.ads.datamanager_util import Formatter
from google.ads.datamanager_v1.types import AddressInfo

asked = " ".join((AddressInfo.__doc__ or "").split())
formatter = Formatter()
name, phone = formatter.format_family_name(" O'Neil "), formatter.format_phone_number("(800) 555-0100")
print("google-ads-datamanager", version("google-ads-datamanager"))
print("  AddressInfo asks for names 'with no punctuation':", "with no punctuation" in asked)
print("google-ads-datamanager-util", version("google-ads-datamanager-util"))
print("  O'Neil:", name)
print("  (800) 555-0100:", phone)
assert "with no punctuation" in asked
assert name == "o'neil"
assert phone == "+8005550100"
PYTHON
