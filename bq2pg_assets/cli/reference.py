"""docs/commands.md, from the commands themselves: `python -m bq2pg_assets.cli.reference`.

Belongs here: putting every command's help on one page. Does not: the help's words, which stand
beside each command. A test fails when the page is not current.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from bq2pg_assets.cli.app import app
from bq2pg_assets.cli.bq_to_postgres import parser

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
HEAD = """# Commands

Written by `python -m bq2pg_assets.cli.reference` from the commands' own help.
"""


def page() -> str:
    """The whole page."""
    sections = [f"## {name}\n\n```text\n{text.strip()}\n```\n" for name, text in helps()]
    return "\n".join([HEAD, *sections])


def helps() -> Iterator[tuple[str, str]]:
    """Each command's name and help, `bq2pg` itself first."""
    yield from _helps(get_command(app), None, "bq2pg")
    yield "bq-to-postgres", parser().format_help()


def _helps(command: Any, parent: Any, name: str) -> Iterator[tuple[str, str]]:
    context = command.make_context(
        name, [], parent=parent, resilient_parsing=True, terminal_width=80, max_content_width=80
    )
    yield context.command_path, command.get_help(context)
    for child, inner in getattr(command, "commands", {}).items():
        yield from _helps(inner, context, child)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
