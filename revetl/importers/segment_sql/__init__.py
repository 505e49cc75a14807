"""Translates the SQL of Segment audiences to models of a dbt project."""
