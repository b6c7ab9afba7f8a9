"""`make screenshots`: the pictures in docs/, taken from the running demo with headless Chromium.

Belongs here: which pages, how large, when they are ready. Does not: assertions; the tests make
them. Chromium is the system's (Debian: `apt-get install chromium`); BQ2PG_CHROMIUM names another.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from bq2pg_assets.local.processes import free_port

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CHROMIUM = os.environ.get("BQ2PG_CHROMIUM", "/usr/bin/chromium")
LOCATION = "bq2pg_assets.definitions"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def main() -> None:
    with demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 810}, device_scale_factor=1.5)
        page.set_default_timeout(60_000)
        group = f"{url}/locations/{LOCATION}/asset-groups/nycflights/lineage"
        page.set_viewport_size({"width": 1440, "height": 1500})  # tall enough for the whole group
        take(page, group, ready="delays_by_carrier", name="asset-graph.png")
        page.set_viewport_size({"width": 1440, "height": 810})
        take(page, f"{url}/assets/nyc/flights", ready="Row count", name="asset-page.png")
        browser.close()


@contextmanager
def demo() -> Iterator[str]:
    """`bq2pg local demo` on a free port; the address of its page."""
    command = [sys.executable, "-m", "bq2pg_assets.cli.app", "local", "demo"]
    with subprocess.Popen(
        [*command, "--port", str(free_port())], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sys.stdout.write(line)
                if found := re.search(r"Dagster: (http://\S+)", line):
                    yield found[1]
                    break
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


def take(page: Page, url: str, *, ready: str, name: str) -> None:
    """Open the page, wait until `ready` can be read on it and nothing loads, keep a picture."""
    page.goto(url)
    page.get_by_text(ready, exact=False).first.wait_for()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_text(re.compile("Loading|fetching"))).to_have_count(0, timeout=60_000)
    page.screenshot(path=DOCS / name)
    sys.stdout.write(f"docs/{name}\n")


if __name__ == "__main__":
    main()
