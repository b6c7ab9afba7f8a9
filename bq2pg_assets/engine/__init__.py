"""The engine: moves one BigQuery table into one PostgreSQL table. Start reading at `sync.py`.

Belongs here: everything between a table's configuration and its rows in PostgreSQL.
Does not: Dagster, the environment, the command line. Import the modules directly.
"""
