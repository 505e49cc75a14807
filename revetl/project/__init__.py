"""A dbt project with revetl: its audiences, syncs and destinations, and scaffolding for new ones."""
