"""BigQuery tables into PostgreSQL as Dagster assets. Start reading at `engine/sync.py`.

- `engine/`  moves one table; knows no Dagster, reads no environment.
- `config/`  one YAML file per table, as pydantic models; `settings.py` reads the environment.
- `defs/`    the Dagster layer, loops over the configuration; Dagster loads `definitions.py`.
- `cli/`     `bq2pg` and `bq-to-postgres`.
- `local/`   emulators, embedded PostgreSQL and demo data for development.

This file imports nothing.
"""
