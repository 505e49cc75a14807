"""SQL of Segment's audiences, translated to models of a dbt project."""
