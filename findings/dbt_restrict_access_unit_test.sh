#!/usr/bin/env bash
# One would guess that `restrict-access: true` in a package keeps other projects from its protected and private models
# alone: a model with `access: public` can be referred to, and so unit-tested over.
# In fact a project's model may refer to the public model, and a unit test of that model, whose input stands in for the
# public one, is refused: dbt makes a node of the input, in the package's name and with the default access, which is
# protected.
# It matters here because users unit-test their audiences over the package's profiles; so the package leaves
# restrict-access off, and keeps others from its machinery by a group of private models only.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "dbt-core==1.11.16" "dbt-duckdb==1.11.1"
mkdir -p "$folder/people/models" "$folder/project/models"
cd "$folder/people"
printf 'name: people\nprofile: shop\nversion: "1.0"\nrestrict-access: true\n' > dbt_project.yml
echo "select 1 as person, 80 as score" > models/profiles.sql
printf 'models:\n  - name: profiles\n    config: {access: public}\n' > models/models.yml

cd "$folder/project"
printf 'name: shop\nprofile: shop\nversion: "1.0"\n' > dbt_project.yml
printf 'packages:\n  - local: ../people\n' > packages.yml
echo 'shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}' > profiles.yml
echo "select person from {{ ref('people', 'profiles') }} where score > 50" > models/high.sql
cat > models/high.yml <<'YML'
unit_tests:
  - name: high_scores_are_taken
    model: high
    given:
      - input: ref('people', 'profiles')
        rows: [{person: 1, score: 90}, {person: 2, score: 10}]
    expect:
      rows: [{person: 1}]
YML
dbt="$folder/venv/bin/dbt --no-use-colors"
$dbt --version 2>/dev/null | sed -n '1,3p'
$dbt -q deps
$dbt -q run --profiles-dir .
echo "The model is built."
refused=$($dbt test --profiles-dir . || true)
grep "protected to the 'people' package" <<< "$refused"
sed -i '/restrict-access/d' "$folder/people/dbt_project.yml"
$dbt test --profiles-dir . | grep "PASS=1"
echo "Refused with restrict-access, passed without."
