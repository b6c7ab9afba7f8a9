"""Connections, secrets and the environment's name: the only reader of environment variables.

Belongs here: each variable, what it is for, an example, and what is wrong with the ones that are
set. Does not: clients and connections (clients.py), anything about a single table (config/).

No message repeats a value, so that a secret in the wrong variable does not leak either.
"""

import contextlib
import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self, TypeVar, overload

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from bq2pg_assets.config.overlays import ENVIRONMENTS, Environment
from bq2pg_assets.engine.errors import ConfigError

PREFIX = "BQ2PG_"
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
SCHEMA = re.compile(r"(?!pg_)[A-Za-z_][A-Za-z0-9_]{0,62}")
URL = re.compile(r"https?://[^/\s@]+/?")
HOST_PORT = re.compile(r"[^/\s@:]+:[0-9]{1,5}")
PORTS = re.compile(r"[0-9,]*")


def _like(pattern: re.Pattern[str], sentence: str) -> AfterValidator:
    def check(value: str) -> str:
        if pattern.fullmatch(value) is None:
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


Address = Annotated[str, _like(URL, "is not an address that begins with http://")]


def _conninfo(value: SecretStr) -> SecretStr:
    # An address whose password holds a bare @ or / is read as another host; connecting to it
    # would put a part of the password into an error about that host.
    text, parts = value.get_secret_value(), {}
    with contextlib.suppress(ProgrammingError):  # its message repeats parts of the text
        parts = conninfo_to_dict(text)
    is_url = text.startswith(("postgresql://", "postgres://"))
    mistaken = is_url and "@" in f"{parts.get('host')}{parts.get('dbname')}"
    if not parts or mistaken or not PORTS.fullmatch(str(parts.get("port") or "")):
        raise ValueError(
            "is not a PostgreSQL connection string; in an address, write @ : / of a password "
            "as %40 %3A %2F"
        )
    return value


class ProjectSettings(BaseSettings):
    """What is needed to read the tables' YAML; nothing is connected."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    tables: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default=Path(__file__).parent / "tables", examples=["/etc/bq2pg/tables"]
    )
    """The folder with one YAML file per table. Default: bq2pg_assets/tables."""
    env: Environment = Field(default="development", examples=["production"])
    """The environment, whose overlay file applies: development, staging or production."""


class Settings(ProjectSettings):
    """All that a sync needs."""

    pg_dsn: Annotated[SecretStr, AfterValidator(_conninfo)] = Field(
        examples=["postgresql://loader:PASSWORD@db.example.com:5432/warehouse"]
    )
    """The PostgreSQL to write to, as an address or as key=value pairs. A secret."""
    gcs_bucket: (
        Annotated[str, _like(BUCKET, "is not a bucket's name; write it without gs://")] | None
    ) = Field(default=None, examples=["my-project-bq2pg"])
    """The Cloud Storage bucket for the exported files; in the same location as the data. Without
    one, rows are read through the Storage Read API."""
    bq_project: str | None = Field(default=None, examples=["my-project"])
    """The Google Cloud project that runs and pays for the jobs. Default: the credentials'."""
    bq_location: str | None = Field(default=None, examples=["EU"])
    """The BigQuery location of the sources. Default: each dataset's own."""
    state_schema: Annotated[str, _like(SCHEMA, "is not a schema's name (letters, digits, _)")] = (
        Field(default="bq2pg", examples=["bq2pg"])
    )
    """The PostgreSQL schema for bq2pg's own tables."""
    pg_max_connections: int = Field(default=20, ge=2, examples=["20"])
    """The most connections to PostgreSQL that one process opens at once; each table needs one, and
    up to `parallelism` more while it copies. Who finds none free waits."""
    mask_secret: SecretStr | None = Field(default=None, examples=["64 random letters and digits"])
    """What columns with mask sha256 or hmac are hashed with; needed by these alone. A secret."""
    price_per_tib: float = Field(default=6.25, ge=0, allow_inf_nan=False, examples=["6.25"])
    """What BigQuery bills for a TiB processed on demand, in US dollars; for estimates."""
    bigquery_emulator_host: Address | None = Field(
        default=None,
        validation_alias="BIGQUERY_EMULATOR_HOST",
        examples=["http://127.0.0.1:9050"],
    )
    """A BigQuery emulator to use instead of Google. Set both emulators or none."""
    storage_emulator_host: Address | None = Field(
        default=None,
        validation_alias="STORAGE_EMULATOR_HOST",
        examples=["http://127.0.0.1:4443"],
    )
    """A Cloud Storage emulator to use instead of Google."""
    bigquery_storage_emulator_host: (
        Annotated[str, _like(HOST_PORT, "is not host:port, without http://")] | None
    ) = Field(
        default=None,
        validation_alias="BIGQUERY_STORAGE_EMULATOR_HOST",
        examples=["127.0.0.1:9060"],
    )
    """The Storage Read API of the BigQuery emulator (gRPC), where it is used."""

    @model_validator(mode="after")
    def _both_emulators(self) -> Self:
        # One alone would export a stand-in's rows to the real cloud, or look there in vain.
        if (self.bigquery_emulator_host is None) != (self.storage_emulator_host is None):
            missing = "storage" if self.storage_emulator_host is None else "bigquery"
            raise PydanticCustomError(
                "one_emulator", "one emulator alone", {"field": f"{missing}_emulator_host"}
            )
        if self.bigquery_storage_emulator_host and self.bigquery_emulator_host is None:
            raise PydanticCustomError(
                "one_emulator", "the Read API alone", {"field": "bigquery_emulator_host"}
            )
        return self


SomeSettings = TypeVar("SomeSettings", bound=ProjectSettings)


@dataclass(frozen=True, slots=True)
class Variable:
    """What is to be known of one environment variable. `default` is None when it is needed."""

    name: str
    purpose: str
    example: str
    default: str | None


@overload
def load_settings() -> Settings: ...
@overload
def load_settings(kind: type[SomeSettings]) -> SomeSettings: ...
def load_settings(kind: type[ProjectSettings] = Settings) -> ProjectSettings:
    """The settings of the environment; `ProjectSettings` asks for no connection.

    Raises ConfigError that names every missing or wrong variable and repeats no value.
    """
    problems = []
    try:
        return _of_environment(kind, frozenset(os.environ.items()))
    except ValidationError as error:
        problems = list(_problems(error, kind))
    # Raised out here so that the error does not carry pydantic's, which knows the values.
    raise ConfigError(
        "environment",
        met=f"{len(problems)} of bq2pg's variables {'is' if len(problems) == 1 else 'are'} wrong",
        expected="what docs/configuration.md lists",
        way_out="Set this:" + "".join(f"\n  {problem}" for problem in problems),
    )


@lru_cache(maxsize=4)
def _of_environment(
    kind: type[ProjectSettings], environment: frozenset[tuple[str, str]]
) -> ProjectSettings:
    """Read once, as long as the environment stays: each table asks for its settings five times."""
    return kind()


def variables(kind: type[ProjectSettings] = Settings) -> tuple[Variable, ...]:
    """Each variable `kind` reads, the needed ones first."""
    found = []
    for name, info in kind.model_fields.items():
        default = None if info.is_required() else str(info.default or "")
        found.append(
            Variable(
                name=str(info.validation_alias or PREFIX + name.upper()),
                purpose=" ".join((info.description or "").split()),
                example=str((info.examples or [""])[0]),
                default="" if name == "tables" else default,
            )
        )
    return tuple(sorted(found, key=lambda variable: variable.default is not None))


def _problems(error: ValidationError, kind: type[ProjectSettings]) -> Iterator[str]:
    known = {variable.name: variable for variable in variables(kind)}
    for detail in error.errors(include_url=False, include_input=False):
        field = str(detail.get("ctx", {}).get("field") or detail["loc"][0]).upper()
        name = field if field in known else PREFIX + field
        about = f"{known[name].purpose} Example: {name}={known[name].example}"
        yield f"{name} {_judgement(detail, name)}. {about}"


def _judgement(detail: ErrorDetails, name: str) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        known = {variable.name for variable in variables()}
        unknown = [n for n in os.environ if n.startswith(PREFIX) and n not in known]
        near = difflib.get_close_matches(name, unknown, n=1, cutoff=0.85)
        return "is not set" + (f" (but {near[0]} is: a slip?)" if near else "")
    if kind == "one_emulator":
        return "is not set while the other emulator is: set both or none"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"is not one of {', '.join(ENVIRONMENTS)}"
    if kind in ("int_parsing", "int_from_float", "greater_than_equal") and "PG_MAX" in name:
        return "is not a whole number, 2 or more"
    numbers = ("float_parsing", "finite_number", "greater_than_equal")
    return "is not a number, 0 or more" if kind in numbers else "is not valid"
