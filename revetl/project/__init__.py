"""A dbt project with revetl in it: its audiences, syncs and destinations, and how one is created."""
