"""The process that makes the calls: seed after seed, until it is done or dead.

`python -m fuzz.child FOLDER FIRST COUNT CALLS THREADS` writes a line of JSON for each seed into FOLDER/outcomes, and
the calls as they are made into FOLDER/record. A seed that hangs ends the process with a traceback of all its threads.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import gc
import json
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from fuzz import models
from fuzz.calls import Actor, Counts, Functions
from fuzz.record import Record
from fuzz.world import World
from llamacffi import llama_cpp as llama
from support.child import be_quiet

ADDRESS_SPACE = 4 * 2**30
WILDNESS = (0.0, 0.01, 0.03, 0.03, 0.1, 0.3)  # how often an argument is odd, one of them a seed


def main() -> None:
    given = parse()
    faulthandler.enable()
    sys.unraisablehook = lambda _: None  # what callbacks raise where nobody can take it
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    tempfile.tempdir = str(given.folder)
    written = given.folder / "models"
    written.mkdir()
    files = models.write_all(written)
    functions = Functions()
    gc.freeze()  # so that collecting a seed's garbage looks at that alone
    with (given.folder / "outcomes").open("w") as outcomes:
        for seed in range(given.first, given.first + given.count):
            faulthandler.dump_traceback_later(given.hang, exit=True)
            outcomes.write(json.dumps(Seed(seed, given, files, functions).run()) + "\n")
            outcomes.flush()
            faulthandler.cancel_dump_traceback_later()


def parse() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name in ("first", "count", "calls", "threads"):
        parser.add_argument(name, type=int)
    parser.add_argument("--hang", type=float, default=120.0)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--skip", default="")
    return parser.parse_args()


class Seed:
    """All the calls of one seed."""

    def __init__(self, seed: int, given: Any, files: list[Path], functions: Functions) -> None:
        self.seed, self.given, self.functions = seed, given, functions
        self.counts: Counts = collections.defaultdict(collections.Counter)
        self.surprises: list[str] = []
        self.reasons: dict[str, str] = {}
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder, files)
        self.world.main_model = self.world.models[seed % len(files)]
        self.record = Record(given.folder / "record")
        self.skipped = set(map(int, filter(None, given.skip.split(","))))

    def run(self) -> dict[str, Any]:
        start = time.monotonic()
        be_quiet()
        self._set_up()
        self._in_threads()
        self._tear_down()
        seconds = time.monotonic() - start
        return {
            "seed": self.seed,
            "seconds": seconds,
            "counts": self.counts,
            "reasons": self.reasons,
            "surprises": self.surprises,
        }

    def _actor(self, number: int, slot: int) -> Actor:
        chance = random.Random((self.seed << 40) + (slot << 32) + number)
        actor = Actor(self.world, self.functions, self.record, self.counts, chance, slot)
        actor.is_alone = self.given.threads == 1
        actor.trace, actor.reasons = self.given.trace, self.reasons
        return actor

    def _set_up(self) -> None:
        """Call what gives the structs that other functions take; they are the defaults."""
        actor = self._actor(2**31, 0)
        for function in self.functions.all:
            if function.result.kind == "struct" and not function.parameters:
                actor.call(function)

    def _in_threads(self) -> None:
        count = self.given.threads
        if count == 1:
            self._make_calls(0)
            return
        threads = [threading.Thread(target=self._make_calls, args=(slot,), daemon=True) for slot in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _make_calls(self, slot: int) -> None:
        wildness = random.Random(self.seed).choice(WILDNESS)
        for number in range(self.given.calls // self.given.threads):
            if number in self.skipped:
                continue
            actor = self._actor(number, slot)
            actor.wildness = wildness
            try:
                actor.step()
            except Exception:
                self.surprises.append(traceback.format_exc())

    def _tear_down(self) -> None:
        """Free all that is left, in any order, through the same calls."""
        actor = self._actor(2**31 + 1, 0)
        for kind, freers in self.functions.freers.items():
            for handle in list(self.world.live[kind]):
                actor.call_with(actor.random.choice(freers), [handle])
        llama.ggml_set_abort_callback(None)
        be_quiet()
        self.world.close_files()
        shutil.rmtree(self.folder, ignore_errors=True)
        del self.world
        gc.collect()


if __name__ == "__main__":
    main()
