#!/usr/bin/env bash
# One would guess: libphonenumber, given the digits of an international number without its + and the number's own
# region, reads the country code in them; and that `is_valid_number` tells a misreading.
# So it is: of Germany it reads them as a national number, doubles the code (+49 49 151...), and calls that valid,
# as German numbers have no fixed length. And what is read depends on the release: of a Mexican mobile with the 1
# of before 2019, 8.13.37 takes the 1 away, and 8.13.38 leaves it there and calls the number invalid.
# Why it matters here: a CRM's "4915112345678" was hashed as somebody else's number, and an upgrade of the library
# changed which people an audience held. So readings have an order of ours, and the release is kept with the hash.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
for release in 8.13.37 8.13.38; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --target "$folder/$release" "phonenumbers==$release"
    PYTHONPATH="$folder/$release" "$folder/venv/bin/python" - <<'PYTHON'
import phonenumbers
from phonenumbers import PhoneNumberFormat, format_number, is_valid_number, parse

german = parse("4915112345678", "DE")
mexican = parse("+5215512345678", None)
print("phonenumbers", phonenumbers.__version__)
print("  4915112345678 in DE:", format_number(german, PhoneNumberFormat.E164), is_valid_number(german))
print("  +5215512345678:", format_number(mexican, PhoneNumberFormat.E164), is_valid_number(mexican))
assert format_number(german, PhoneNumberFormat.E164) == "+494915112345678"
assert is_valid_number(german)
before = phonenumbers.__version__ == "8.13.37"
assert is_valid_number(mexican) == before
assert format_number(mexican, PhoneNumberFormat.E164) == ("+525512345678" if before else "+5215512345678")
PYTHON
done
