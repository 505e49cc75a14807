"""Configuration: `revetl.yml` and `config.meta.revetl` of a model, read and checked."""
