#!/usr/bin/env bash
# One would guess that Python's formatting of numbers works in dbt's Jinja whatever the version, or fails to compile.
# In dbt 1 both "{:04x}".format(160) and "%04x" % 160 give 00a0. In dbt 2 (2.0.0a4, Jinja in Rust) the first
# compiles without a word to the text {:04x}, so that SQL is made with a pattern of other characters, and the second
# is an error ("Incorrect type passed as an argument"), while "%d" works.
# It matters here because the package writes the code points that it trims into patterns by their hexadecimal digits:
# with `.format` a build on dbt 2 would succeed and trim nothing. The package writes the digits by itself.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v1"
python3 -m venv "$folder/v2"
"$folder/v1/bin/pip" install -q "dbt-core==1.11.16" "dbt-duckdb==1.11.1"
"$folder/v2/bin/pip" install -q --only-binary=:all: "dbt-core==2.0.0a4" "duckdb==2.0.1"
# DuckDB's Python extension is dbt 2's database driver, once Python's shared library is loaded before it.
driver=$("$folder/v2/bin/python" -c 'import _duckdb; print(_duckdb.__file__)')
library=$(python3 -c 'import sysconfig as s, pathlib as p; v = s.get_config_var; print(p.Path(v("LIBDIR")) / v("LDLIBRARY"))')
[ -e "${library%.a}.so" ] && library=${library%.a}.so
mkdir -p "$folder/adbc" "$folder/project/models"
printf 'manifest_version = 1\nname = "DuckDB"\nversion = "2.0.1"\n[Driver]\nentrypoint = "duckdb_adbc_init"\nshared = "%s"\n' \
    "$driver" > "$folder/adbc/duckdb.toml"
dbt2() { ADBC_DRIVER_PATH="$folder/adbc" LD_PRELOAD="$library" "$folder/v2/bin/dbt" "$@"; }
cd "$folder/project"
printf 'name: shop\nprofile: shop\nversion: "1.0"\n' > dbt_project.yml
echo 'shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}' > profiles.yml
export DBT_SEND_ANONYMOUS_USAGE_STATS=0 DBT_PROFILES_DIR=.

echo "select '{{ '{:04x}'.format(160) }}' as code" > models/code.sql
"$folder/v1/bin/dbt" --version 2>/dev/null | sed -n '2p'
"$folder/v1/bin/dbt" -q compile > /dev/null
tee /dev/stderr < target/compiled/shop/models/code.sql | grep -qx "select '00a0' as code"
echo
dbt2 --version
rm -rf target
dbt2 -q compile > /dev/null
tee /dev/stderr < target/compiled/shop/models/code.sql | grep -qx "select '{:04x}' as code"
echo

echo "select '{{ '%04x' % 160 }}' as code" > models/code.sql
"$folder/v1/bin/dbt" -q compile > /dev/null
grep -qx "select '00a0' as code" target/compiled/shop/models/code.sql
if dbt2 -q compile > "$folder/said" 2>&1; then exit 1; fi
grep -m1 "Incorrect type passed as an argument" "$folder/said"
echo "dbt 2 leaves {:04x} as it is, and refuses %04x."
