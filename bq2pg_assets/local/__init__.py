"""The development stack without a cloud: emulators, a real PostgreSQL, demo data.

- `python.py`       finds a Python new enough for the emulators.
- `environment.py`  builds the emulators' own virtual environment (`emulators.txt`).
- `emulator/`       the BigQuery stand-in, run as a script by that environment.
- `processes.py`    detached processes, stopped by pid and never by name.
- `servers.py`      the command line and the readiness of each server.
- `stack.py`        up, down, reset, status; the environment variables for the product.
- `catalog.py`      datasets and tables of the demo, as data.
- `demo_data.py`    their rows. `seed.py` loads them.

Nothing of a deployed bq2pg belongs here. This file imports nothing.
"""
