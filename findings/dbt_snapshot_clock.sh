#!/usr/bin/env bash
# One would guess that a dbt snapshot closes a row that vanished (hard_deletes: invalidate) by the clock that its other
# periods have: the column that `updated_at` names.
# It closes it by `snapshot_get_time()`, which in dbt-duckdb is the time in the zone of the session. Where that is
# behind UTC and `updated_at` is UTC, the period ends hours before it begins, and no test of dbt's says so.
# A macro of that name in the package of the snapshot takes its place, without a `dispatch` in the project.
# It matters here because `revetl_trait_history` closes who vanished, on laptops outside UTC too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "dbt-core==1.11.16" "dbt-duckdb==1.11.1" "duckdb==1.4.4"
mkdir -p "$folder/shop/snapshots" "$folder/shop/models" "$folder/shop/macros"
cd "$folder/shop"
cat >dbt_project.yml <<'YAML'
{name: shop, profile: shop, version: '1.0'}
YAML
cat >profiles.yml <<'YAML'
shop: {target: t, outputs: {t: {type: duckdb, path: shop.duckdb}}}
YAML
cat >models/people.sql <<'SQL'
select id, 'x' as value, cast(now() at time zone 'UTC' as timestamp) as seen_at
from range({{ var('people') }}) as people (id)
SQL
cat >snapshots/history.sql <<'SQL'
{% snapshot history %}
{{ config(unique_key='id', strategy='check', check_cols=['value'], updated_at='seen_at', hard_deletes='invalidate') }}
select * from {{ ref('people') }}
{% endsnapshot %}
SQL
periods() {
    rm -f shop.duckdb
    for people in 2 1; do
        TZ=America/New_York DBT_SEND_ANONYMOUS_USAGE_STATS=0 "$folder/venv/bin/dbt" -q build --vars "people: $people" --profiles-dir . >/dev/null
    done
    "$folder/venv/bin/python" - <<'PY'
import duckdb
began, ended = duckdb.connect("shop.duckdb").execute(
    "select dbt_valid_from, dbt_valid_to from history where dbt_valid_to is not null"
).fetchone()
print(f"  from {began} to {ended}: {'ends before it begins' if ended < began else 'in order'}")
PY
}
"$folder/venv/bin/dbt" --version | grep -E "installed|duckdb"
echo "dbt's own snapshot_get_time:"
periods | tee own.txt
cat >macros/clock.sql <<'SQL'
{% macro snapshot_get_time() %}cast(now() at time zone 'UTC' as timestamp){% endmacro %}
SQL
echo "a macro of that name beside the snapshot:"
periods | tee ours.txt
grep -q "ends before it begins" own.txt && grep -q "in order" ours.txt
