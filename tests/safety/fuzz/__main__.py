"""Run the fuzzer from the command line: `python tests/safety/fuzz --seeds 200`, or `… --minutes 30`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Found from here only as members of `fuzz`: a folder that is run stands first in sys.path.
sys.path[:] = [
    str(HERE.parents[1]),
    str(HERE.parent),
    str(HERE.parents[2]),
    *(one for one in sys.path if one != str(HERE)),
]

from fuzz import parent, shrink  # noqa: E402


def main() -> int:
    given = vars(_parse())
    is_to_shrink = given.pop("shrink")
    plan = parent.Plan(**given)
    if is_to_shrink:
        shrink.shrink(plan)
        return 1
    report = parent.run(plan)
    print(report)
    for surprise in report.surprises:
        print(surprise)
    for one in report.never_worked():
        print(f"never returned: {one}")
    return 0 if report.is_clean else 1


def _parse() -> argparse.Namespace:
    default = parent.Plan()
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--first", type=int, default=default.first, help="the first seed")
    parser.add_argument("--seeds", type=int, dest="count", default=default.count, help="how many seeds")
    parser.add_argument("--calls", type=int, default=default.calls, help="calls of a seed, by all its threads")
    parser.add_argument("--threads", type=int, default=default.threads, help="threads that make the calls")
    parser.add_argument("--minutes", type=float, default=default.minutes, help="go on for so long, however many seeds")
    parser.add_argument("--each", type=int, default=default.each, help="seeds of one process")
    parser.add_argument("--hang", type=float, default=default.hang, help="seconds that a seed may take")
    parser.add_argument("--skip", default=default.skip, help="numbers of calls to leave out, to shorten what dies")
    parser.add_argument("--trace", action="store_true", help="print each call, and how it ended")
    parser.add_argument("--stop", action="store_true", dest="full_stop", help="stop at the first death")
    parser.add_argument("--shrink", action="store_true", help="leave out calls of --first that its death does not need")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
