"""Countries by their names and codes, as ISO 3166-1 has them."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1_000)
def country(value: str, _: str | None) -> str | None:
    """The two letters (ISO 3166-1) of a country's name or code, in lower case."""
    import pycountry

    try:
        return str(pycountry.countries.lookup(value).alpha_2).lower()
    except LookupError:
        return None


def country_upper(value: str, region: str | None) -> str | None:
    """`country` in upper case."""
    found = country(value, region)
    return found and found.upper()
