"""Gender and date of birth as destinations hash them, as SQL over `:value`.

Each gives null for what it cannot read: a month's name hashed as `00`, or a year as `19900`, matches nobody,
or somebody else. A SHA-256 stays as it is.
"""

from __future__ import annotations

_TEXT = "lower(trim(:value))"
_SHA256 = f"when regexp_like({_TEXT}, '^[0-9a-f]{{64}}$') then {_TEXT}"
_DAY = f"regexp_like({_TEXT}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')"
_WHOLE = f"regexp_replace({_TEXT}, '[.]0+$', '', 'g')"
"""A number without the fraction that a double has."""

_FEMALE = ("f", "female", "w", "woman", "girl", "frau", "weiblich", "femme", "femenino", "mujer", "feminino")
_MALE = ("m", "male", "man", "boy", "mann", "männlich", "homme", "masculino", "hombre")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *("november", "december"),
)


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _months() -> str:
    """The cases of the months' names, whole and in three letters."""
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
