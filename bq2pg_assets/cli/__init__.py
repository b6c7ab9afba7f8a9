"""The command line: `bq2pg` (`app.py`) and the one-table script `bq-to-postgres`.

Each command parses, calls the engine or the local stack, prints, and returns an exit code.
Belongs here: words for people. Does not: deciding anything about a table, and Dagster, which is
only ever started as a process of its own. Heavy imports stay inside the functions that need
them, so that `--help` answers at once.
"""
