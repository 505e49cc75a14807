"""Census (Fivetran Activations)."""
