#!/usr/bin/env bash
# One would guess that a dbt variable is either rendered or literal, the same everywhere: the documentation says
# that Jinja is not supported in `vars:` and that values are taken literally.
# In fact `var()` renders a value with Jinja in it in models (and macros, hooks), and not in the YAML of a source:
# with `state_schema: "state_{{ target.name }}"` a model that writes to var('state_schema') uses the schema
# `state_dev`, while `source()` reads from a schema that is really named `state_{{ target.name }}`.
# It matters here because the runner's tables are a dbt source whose schema is a variable: a name with Jinja would
# have hooks write to one schema and models read from another, so revetl refuses it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "dbt-core==1.11.16" "dbt-duckdb==1.11.1"
mkdir -p "$folder/project/models"
cd "$folder/project"
cat > dbt_project.yml <<'YML'
name: shop
profile: shop
version: "1.0"
vars:
  state_schema: "state_{{ target.name }}"
YML
cat > profiles.yml <<'YML'
shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}
YML
cat > models/sources.yml <<'YML'
version: 2
sources:
  - name: kept
    schema: "{{ var('state_schema') }}"
    tables: [{name: sync_state}]
YML
echo "select '{{ var('state_schema') }}' as written, '{{ source('kept', 'sync_state') }}' as read" > models/both.sql

"$folder/venv/bin/dbt" --version 2>/dev/null | sed -n '1,3p'
compiled=$("$folder/venv/bin/dbt" -q compile --select both --profiles-dir .)
echo "$compiled"
grep -q "'state_dev' as written" <<< "$compiled"
grep -qF '"shop"."state_{{ target.name }}"."sync_state"' <<< "$compiled"
echo "Rendered in the model, literal in the source's schema."
