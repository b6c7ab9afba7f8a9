"""What Dagster loads: the tables of the configured folder as definitions.

Belongs here: the single act at import, reading the YAML. Does not: anything that connects; the
connections' variables are read when an asset runs.
"""

from bq2pg_assets.config.load import load_tables
from bq2pg_assets.defs.build import build_definitions
from bq2pg_assets.settings import ProjectSettings, load_settings

_settings = load_settings(ProjectSettings)

# A developer who starts `dagster dev` switches schedules on where they are wanted; deployed, they
# tick without anyone having to remember it.
defs = build_definitions(
    load_tables(_settings.tables, environment=_settings.env),
    running=_settings.env != "development",
)
