# The product without the local stack: web server, daemon and code location from one image.
# Its tables are those in bq2pg_assets/tables when it is built (the demo's, in a folder below, are
# not loaded), or those of a mounted folder that BQ2PG_TABLES names.
# Built in two stages, so that the final one holds no compiler and no package cache.
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bq2pg_assets ./bq2pg_assets
RUN python -m venv /opt/bq2pg \
    && /opt/bq2pg/bin/pip install --no-cache-dir --constraint constraints.txt '.[read-api]'

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 bq2pg
COPY --from=build /opt/bq2pg /opt/bq2pg
WORKDIR /opt/bq2pg/home
COPY workspace.yaml ./
COPY deploy/dagster.yaml ./dagster.yaml
RUN chown -R bq2pg /opt/bq2pg/home
USER bq2pg
# DAGSTER_HOME is the switch: this folder's dagster.yaml keeps runs in PostgreSQL.
ENV PATH=/opt/bq2pg/bin:$PATH DAGSTER_HOME=/opt/bq2pg/home PYTHONUNBUFFERED=1 BQ2PG_ENV=production
# Loopback only: Dagster's web server has no login. Run with `--network host` and open
# http://127.0.0.1:3000 there, or put a proxy that has a login before it.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/server_info', timeout=4)"]
# The daemon is the same image with: dagster-daemon run --workspace workspace.yaml
CMD ["dagster-webserver", "--host", "127.0.0.1", "--port", "3000", "--workspace", "workspace.yaml"]
