"""Draw what README.md and docs/performance.md show. Readable in grey: contenders differ by lightness and hatching."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

from benchmarks import calls, mistakes, scaling, token_loop
from benchmarks.results import Results

STYLES: dict[str, dict[str, Any]] = {
    calls.PEER: {"color": "0.25", "label": "ctypes (llama-cpp-python)"},
    calls.CFFI: {"color": "0.45", "label": "plain cffi"},
    calls.OURS: {"color": "0.7", "label": "llamacffi"},
    calls.C: {"color": "0.95", "label": "C by hand, no checks", "hatch": "//", "edgecolor": "0.4"},
    mistakes.DEATH: {"color": "0.15"},
    mistakes.WRONG: {"color": "0.95", "hatch": "xx", "edgecolor": "0.4"},
    mistakes.EXCEPTION: {"color": "0.75"},
}
TEXT = {mistakes.DEATH: "white", mistakes.WRONG: "black", mistakes.EXCEPTION: "black"}
SHOWN = ("llama_n_ctx", "llama_vocab_is_eog", "llama_token_to_piece", "llama_batch_get_one", "llama_get_logits_ith",
         "llama_get_memory")  # fmt: skip


def nanoseconds(results: Results, function: str, who: str) -> float:
    """C's bar is of the C that treats the GIL as llamacffi does."""
    if who == calls.C and function in calls.RELEASED:
        who = calls.C_RELEASED
    return results.lines[calls.GROUP, function, who].median * 1e9


def draw_calls(axes: Any, results: Results) -> None:
    who = [one for one in (calls.PEER, calls.CFFI, calls.OURS, calls.C) if results.has(calls.GROUP, one)]
    height = 0.84 / len(who)
    for place, one in enumerate(who):
        rows = [row + place * height for row in range(len(SHOWN))]
        bars = axes.barh(rows, [nanoseconds(results, name, one) for name in SHOWN], height, **STYLES[one])
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7)
    axes.set_yticks([row + 0.42 - height / 2 for row in range(len(SHOWN))], SHOWN)
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


def draw_token_loop(axes: Any, results: Results) -> None:
    who = [one for one in (token_loop.PEER, token_loop.OURS, token_loop.C) if results.has(token_loop.GROUP, one)]
    styles = {token_loop.PEER: STYLES[calls.PEER], token_loop.OURS: STYLES[calls.OURS], token_loop.C: STYLES[calls.C]}
    real = [case for case in token_loop.CASES if not case.two_layers]
    height = 0.84 / len(who)
    for place, one in enumerate(who):
        speeds = [1 / results.lines[token_loop.GROUP, f"{case.name}: a token", one].median for case in real]
        bars = axes.barh([row + place * height for row in range(len(real))], speeds, height, **styles[one])
        axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7)
    names = [f"{case.sequences} sequence{'s' * (case.sequences > 1)}" for case in real]
    axes.set_yticks([row + 0.42 - height / 2 for row in range(len(real))], names)
    axes.invert_yaxis()
    axes.set_title("generated tokens a second", fontsize=10)
    axes.legend(fontsize=8, loc="upper right")


def draw_sequences(axes: Any, results: Results) -> None:
    medians = [results.lines[scaling.GROUP, scaling.sequences(one), scaling.OURS].median for one in scaling.SEQUENCES]
    bars = axes.bar([str(one) for one in scaling.SEQUENCES], [1 / one for one in medians], color="0.7")
    axes.bar_label(bars, fmt="%.0f", padding=2, fontsize=7)
    axes.set_title("tokens a second against sequences in a batch", fontsize=10)


def save(figure: Any, file: Path) -> None:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def draw(results: Results, ends: dict[str, list[str]], folder: Path) -> None:
    """Draw each image whose groups were measured."""
    if results.has(calls.GROUP, calls.OURS):
        figure, axes = plt.subplots(1, 2 if ends else 1, figsize=(11, 3.8), layout="constrained", squeeze=False)
        draw_calls(axes[0][0], results)
        if ends:
            draw_mistakes(axes[0][1], ends)
        save(figure, folder / "calls.png")
    if results.has(token_loop.GROUP, token_loop.OURS) and results.has(scaling.GROUP, scaling.OURS):
        figure, axes = plt.subplots(1, 2, figsize=(11, 3), layout="constrained", squeeze=False)
        draw_token_loop(axes[0][0], results)
        draw_sequences(axes[0][1], results)
        save(figure, folder / "speed.png")
