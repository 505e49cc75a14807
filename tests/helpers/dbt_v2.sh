#!/usr/bin/env bash
# Makes a folder with dbt 2 that runs on DuckDB: `dbt_v2.sh DIR` makes DIR/bin/dbt, from packages of the index alone.
# The wheels of dbt-core 2.0.0a1 to a4 have the program in them. It loads its database driver by ADBC; DuckDB's Python
# extension is that driver too (entry point duckdb_adbc_init), once Python's shared library is loaded before it.
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
python=${PYTHON:-python3}
"$python" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: "dbt-core==2.0.0a4" "duckdb>=2.0.1,<2.1" || exit 77 # no wheel for this system
driver=$("$dir/venv/bin/python" -c 'import _duckdb; print(_duckdb.__file__)')
library=$("$python" -c 'import sysconfig, pathlib as p; v = sysconfig.get_config_var; print(p.Path(v("LIBDIR")) / v("LDLIBRARY"))')
[ -e "${library%.a}.so" ] && library=${library%.a}.so
mkdir -p "$dir/adbc" "$dir/bin"
cat >"$dir/adbc/duckdb.toml" <<TOML
manifest_version = 1
name = "DuckDB"
version = "2.0.1"
[Driver]
entrypoint = "duckdb_adbc_init"
shared = "$driver"
TOML
cat >"$dir/bin/dbt" <<SH
#!/usr/bin/env bash
ADBC_DRIVER_PATH="$dir/adbc" LD_PRELOAD="$library" exec "$dir/venv/bin/dbt" "\$@"
SH
chmod +x "$dir/bin/dbt"
"$dir/bin/dbt" --version
