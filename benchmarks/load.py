"""`revetl load` against DuckDB's own reading of the same file into a table.

python benchmarks/load.py [--rows 1000000] [--file FILE] [--json]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import duckdb
from _report import Report, peak_mb, timed

from revetl.ingest.load import load_files


def generate(file: Path, rows: int) -> None:
    """Messages of a shop: orders with their products, views and identifies, each with its own ids."""
    duckdb.sql(
        f"""
        copy (
            select
                case when i % 10 = 0 then 'identify' else 'track' end as type,
                'm-' || uuid() as "messageId",
                strftime(timestamp '2026-01-01' + interval (i * 3) second, '%Y-%m-%dT%H:%M:%S.%fZ') as timestamp,
                'u' || (hash(i) % {max(rows // 20, 1)}) as "userId",
                'a-' || uuid() as "anonymousId",
                case when i % 10 = 0 then null when i % 3 = 0 then 'Order Completed' else 'Product Viewed' end as event,
                case when i % 10 <> 0 then {{
                    'order_id': 'o' || i, 'total': round((hash(i, 1) % 100000) / 100, 2), 'currency': 'GBP',
                    'products': list_transform(range(1 + (hash(i, 2) % 5)::int), lambda n: {{
                        'product_id': 'p' || (hash(i, n) % 4000), 'name': 'PRODUCT NUMBER ' || (hash(i, n) % 4000),
                        'price': round((hash(i, n, 3) % 5000) / 100, 2), 'quantity': 1 + hash(i, n, 4) % 6
                    }})
                }} end as properties,
                case when i % 10 = 0 then {{'email': 'u' || (hash(i) % {max(rows // 20, 1)}) || '@example.com',
                    'plan': 'basic', 'country': 'GB'}} end as traits,
                {{'ip': (hash(i, 5) % 255) || '.0.2.1', 'locale': 'en-GB', 'library': {{'name': 'analytics.js',
                    'version': '2.1.0'}}, 'page': {{'path': '/p/' || (hash(i, 6) % 900),
                    'url': 'https://shop.example.com/p/' || (hash(i, 6) % 900)}}}} as context
            from range({rows}) as numbers (i)
        ) to '{file}' (format json)
        """
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.file or Path(folder) / "events.ndjson"
        if arguments.file is None:
            generate(file, arguments.rows)
        with timed() as floor:
            connection = duckdb.connect(f"{folder}/floor.duckdb")
            connection.execute(
                "create table t as select * from read_json($file, format = 'newline_delimited')",
                {"file": str(file)},
            )
            connection.close()
        with timed() as ours:
            connection = duckdb.connect(f"{folder}/revetl.duckdb")
            loaded = load_files(connection, [file])
            connection.close()
        Report(
            benchmark="load",
            sizes={"messages": loaded.landed, "file_mb": file.stat().st_size >> 20},
            seconds=ours.seconds,
            floor_seconds=floor.seconds,
            ratio=ours.seconds / floor.seconds,
            peak_mb=peak_mb(),
            goal="at most 2 times",
        ).print(arguments.json)


if __name__ == "__main__":
    main()
