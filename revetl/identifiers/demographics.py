"""Normalize gender and date of birth for hashing, as SQL over `:value`.

Invalid values become null, because the hash of a wrong value, such as the month `00`, matches nobody or the
wrong person. A SHA-256 is unchanged.
"""

from __future__ import annotations

_TEXT = "lower(trim(:value))"
_SHA256 = f"when regexp_like({_TEXT}, '^[0-9a-f]{{64}}$') then {_TEXT}"
_DAY = f"regexp_like({_TEXT}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')"
_WHOLE = f"regexp_replace({_TEXT}, '[.]0+$', '', 'g')"
"""A number without the zero fraction of a double."""

_FEMALE = ("f", "female", "w", "woman", "girl", "frau", "weiblich", "femme", "femenino", "mujer", "feminino")
_MALE = ("m", "male", "man", "boy", "mann", "männlich", "homme", "masculino", "hombre")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *("november", "december"),
)


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _months() -> str:
    """Return the cases for the names of months, in full and abbreviated."""
    made = []
    for at, name in enumerate(_MONTHS, start=1):
        names = [name, name[:3], f"{name[:3]}.", *(["sept", "sept."] if name == "september" else [])]
        made.append(f"when {_TEXT} in ({_listed(tuple(dict.fromkeys(names)))}) then '{at:02}'")
    return " ".join(made)


GENDER = (
    f"case {_SHA256} when {_TEXT} in ({_listed(_FEMALE)}) then 'f' "
    f"when {_TEXT} in ({_listed(_MALE)}) then 'm' end"
)
YEAR = (
    f"case {_SHA256} when {_DAY} then substr({_TEXT}, 1, 4) "
    f"when regexp_like({_WHOLE}, '^(19|20)[0-9]{{2}}$') then {_WHOLE} end"
)
MONTH = (
    f"case {_SHA256} when {_DAY} then substr({_TEXT}, 6, 2) "
    f"when regexp_like({_WHOLE}, '^(0?[1-9]|1[0-2])$') then lpad({_WHOLE}, 2, '0') {_months()} end"
)
DAY = (
    f"case {_SHA256} when {_DAY} then substr({_TEXT}, 9, 2) "
    f"when regexp_like({_WHOLE}, '^(0?[1-9]|[12][0-9]|3[01])$') then lpad({_WHOLE}, 2, '0') end"
)
BIRTH_DATE = (
    f"case {_SHA256} when {_DAY} then replace(substr({_TEXT}, 1, 10), '-', '') "
    f"when regexp_like({_WHOLE}, '^(19|20)[0-9]{{2}}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$') "
    f"then {_WHOLE} end"
)
