"""Draw what README.md shows: nanoseconds a call, and how mistakes end, through ctypes and here, measured now.

Readable in grey: the contenders differ by lightness and hatching.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import mistakes
import overhead

from llamacffi import default_model

IMAGE = Path(__file__).resolve().parent.parent / "docs" / "images" / "calls.png"
STYLES: dict[str, dict[str, Any]] = {
    "ctypes": {"color": "0.25", "label": "ctypes (llama-cpp-python)"},
    "llamacffi": {"color": "0.65", "label": "llamacffi"},
    "by hand": {"color": "0.95", "label": "C by hand, no checks", "hatch": "//", "edgecolor": "0.4"},
    mistakes.DEATH: {"color": "0.15"},
    mistakes.WRONG: {"color": "0.95", "hatch": "xx", "edgecolor": "0.4"},
    mistakes.EXCEPTION: {"color": "0.75"},
}


TEXT = {mistakes.DEATH: "white", mistakes.WRONG: "black", mistakes.EXCEPTION: "black"}


def draw_calls(axes: Any, times: dict[str, overhead.Times]) -> None:
    height = 0.8 / len(times)
    for place, (who, one) in enumerate(times.items()):
        rows = [row + place * height for row in range(len(overhead.COUNTED))]
        bars = axes.barh(rows, [one[name] for name in overhead.COUNTED], height, **STYLES[who])
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(overhead.COUNTED))], overhead.COUNTED)
    axes.invert_yaxis()
    axes.set_title("nanoseconds a call", fontsize=10)
    axes.legend(fontsize=8, loc="lower right")


def draw_mistakes(axes: Any, ends: dict[str, list[str]]) -> None:
    for row, counted in enumerate(ends.values()):
        start = 0
        for end in (mistakes.DEATH, mistakes.WRONG, mistakes.EXCEPTION):
            count = counted.count(end)
            bars = axes.barh(row, count, 0.5, left=start, label=end if row == 0 else None, **STYLES[end])
            label = axes.bar_label(bars, [str(count or "")], label_type="center", fontsize=9, color=TEXT[end])
            label[0].set_bbox({"color": STYLES[end]["color"], "pad": 1.5})
            start += count
    axes.set_yticks(range(len(ends)), list(ends))
    axes.set_ylim(len(ends) - 0.4, -1.1)  # room for the legend
    axes.set_title(f"how {len(mistakes.MISTAKES)} mistakes end", fontsize=10)
    axes.legend(fontsize=8, loc="upper center", ncols=3)
    axes.set_xlim(0, len(mistakes.MISTAKES) + 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ctypes", type=Path, required=True, help="the folder of the installed llama_cpp package")
    parser.add_argument("--image", type=Path, default=IMAGE, help="(default: %(default)s)")
    given = parser.parse_args()
    model, peer = default_model.model_path(), given.ctypes.absolute()
    ends = mistakes.ends({"ctypes": peer, "llamacffi": None}, model)
    contenders = [overhead.ctypes_peer(peer, model), overhead.llamacffi(model), overhead.by_hand(model)]
    overhead.check_answers(contenders)
    times = overhead.measure(contenders, 100)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4), width_ratios=(3, 2), layout="constrained")
    draw_calls(left, times)
    draw_mistakes(right, ends)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    given.image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.image, dpi=110)
    overhead.show(times)
    mistakes.show(ends)


if __name__ == "__main__":
    main()
