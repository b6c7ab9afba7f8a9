"""The Dagster layer: assets, checks, schedules, sensors, resources and the executor. The only
folder, with `definitions.py`, that imports Dagster.

Belongs here: translating between the engine and Dagster, one file per Dagster concept.
Does not: moving rows (engine/), what a table's YAML may say (config/).

Start at `build.py`. No module here may postpone the evaluation of annotations
(`from __future__ import annotations`): Dagster reads Config and resource parameters at runtime.
Import the modules directly.
"""
