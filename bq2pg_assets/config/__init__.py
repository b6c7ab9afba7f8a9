"""What the user writes: one YAML file per table, read into pydantic models.

`table.py` is the model, `load.py` reads a folder of files, `overlays.py` merges the environments,
`problems.py` puts mistakes into words, `settings.py` is the only reader of the environment.
Import the modules directly.
"""
