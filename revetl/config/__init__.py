"""Configuration: reads and checks `revetl.yml` and a model's `config.meta.revetl`."""
