"""What the user writes: one YAML file per table, read into pydantic models.

`table.py` is the model and `cron.py` its schedules, `load.py` reads a folder of files,
`document.py` one file with its lines, `overlays.py` merges the environments, `problems.py` puts
mistakes into words, `schema.py` writes the JSON Schemas and the tables of docs/configuration.md.
Connections and secrets are no part of it: `bq2pg_assets/settings.py` reads the environment.
Import the modules directly.
"""
