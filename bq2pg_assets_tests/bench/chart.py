"""The chart beside docs/benchmarks.md, drawn in the environment `chart`.

Belongs here: seconds of each contestant as bars, PNG and SVG. Does not: the tables (report.py).
Run as a program by that environment's Python, it imports nothing of bq2pg.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

ROWS_DRAWN = ("lineitem-2", "peers", "habits", "nested", "wide")
OURS, OTHERS = "#2a6fbb", "#b8bec6"


def draw(results: Path, *, folder: Path, into: Path) -> None:
    """benchmarks.png and benchmarks.svg; the environment lies below `folder`."""
    from bq2pg_assets_tests.bench import peers

    python = peers.built("chart", folder)
    subprocess.run([str(python), __file__, str(results), str(into)], check=True)


def main(results: Path, into: Path) -> None:
    """In the environment `chart`."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "bq2pg"  # the same file for the same figures
    from matplotlib import pyplot as plt

    found = {row["name"]: row for row in json.loads(results.read_text())["rows"]}
    rows = [found[name] for name in ROWS_DRAWN if name in found] or list(found.values())
    heights = [len(_bars(row)) + 1.2 for row in rows]
    figure, axes = plt.subplots(
        len(rows), figsize=(9, 0.34 * sum(heights)), height_ratios=heights, squeeze=False
    )
    for row, axis in zip(rows, axes[:, 0], strict=True):
        bars = _bars(row)[::-1]
        names, seconds = [b[0] for b in bars], [b[1] for b in bars]
        colours = [OURS if name.startswith("bq2pg") else OTHERS for name in names]
        drawn = axis.barh(names, seconds, color=colours)
        axis.bar_label(drawn, [f"{s:.2f}" for s in seconds], padding=4, fontsize=8)
        axis.set_title(row["title"], loc="left", fontsize=9)
        axis.margins(x=0.12)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("seconds, less is better", fontsize=8)
    figure.tight_layout()
    figure.savefig(into / "benchmarks.svg", metadata={"Date": None})
    figure.savefig(into / "benchmarks.png", dpi=150)


def _bars(row: dict) -> list[tuple[str, float]]:
    """Title and median of each entry that ran."""
    return [
        (entry["title"], statistics.median(entry["figures"]["seconds"]))
        for entry in row["entries"]
        if not entry["error"] and entry["figures"].get("seconds")
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
