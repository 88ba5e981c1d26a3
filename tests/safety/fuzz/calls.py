"""One call: choose a function, make its arguments, write it down, call, and learn from how that ended."""

from __future__ import annotations

import bisect
import collections
import ctypes
import itertools
import re
from random import Random
from typing import Any

import llamacffi
from fuzz import arguments, scalars, structs
from fuzz.describe import described
from fuzz.functions import Function, all_functions, kind_of
from fuzz.record import Record
from fuzz.world import World
from llamacffi import ffi

MANY = {"llama_model": 4, "llama_context": 5, "ggml_threadpool": 3, "ggml_context": 6}
MOST_OF_A_KIND = 10
REFUSALS = (llamacffi.LlamaError, TypeError, ValueError, OverflowError, MemoryError, OSError)

Counts = dict[str, collections.Counter[str]]


class Functions:
    """The functions, and which of them make and free each kind of handle."""

    def __init__(self) -> None:
        self.all, self.left_out = all_functions()
        self._weights = list(itertools.accumulate(function.weight for function in self.all))
        self.creators: dict[str, list[Function]] = collections.defaultdict(list)
        self.freers: dict[str, list[Function]] = collections.defaultdict(list)
        for function in self.all:
            if kind := kind_of(function.result):
                self.creators[kind].append(function)
            for parameter in function.parameters:
                if parameter.name == function.rules.frees and parameter.kind:
                    self.freers[parameter.kind].append(function)

    def choose(self, random: Random) -> Function:
        return self.all[bisect.bisect(self._weights, random.random() * self._weights[-1])]


class Actor:
    """Who makes calls: a thread, or a callback inside of one of its calls."""

    def __init__(self, world: World, functions: Functions, record: Record, counts: Counts, random: Random, slot: int):
        self.world, self.functions, self.record, self.counts = world, functions, record, counts
        self.random, self.slot = random, slot
        self.reasons: dict[str, str] = {}
        self.depth = 0
        self.wildness = 0.0
        self.trace = False
        self.is_alone = True  # no other thread makes calls

    def inside(self, random: Random, depth: int) -> Actor:
        """Return the one who makes calls inside of a callback."""
        actor = Actor(self.world, self.functions, self.record, self.counts, random, self.slot)
        actor.is_alone = self.is_alone
        actor.depth, actor.wildness, actor.trace, actor.reasons = depth, self.wildness, self.trace, self.reasons
        return actor

    def is_odd(self) -> bool:
        return self.random.random() < self.wildness

    def handle(self, kind: str, is_odd: bool) -> Any:
        return arguments.handle(self, kind, is_odd)

    def text(self) -> bytes:
        return arguments.text(self, "")

    # ---------------------------------------------------------------- which function

    def step(self) -> None:
        self.call(self._reachable(self._too_many() or self.functions.choose(self.random)))

    def _too_many(self) -> Function | None:
        """Free something where there is more of a kind than is good for speed."""
        for kind, freers in self.functions.freers.items():
            if len(self.world.live[kind]) > MANY.get(kind, MOST_OF_A_KIND):
                return self.random.choice(freers)
        return None

    def _reachable(self, function: Function) -> Function:
        """Make first what the function needs and nobody has, mostly."""
        for _ in range(3):
            missing = [one.kind for one in function.parameters if one.kind and not self.world.live[one.kind]]
            makers = self.functions.creators.get(missing[0], []) if missing else []
            if not makers or self.random.random() < 0.2:
                break
            function = self.random.choice(makers)
        return function

    # ---------------------------------------------------------------- the call

    def call(self, function: Function) -> Any:
        return self.call_with(function, arguments.choose(self, function))

    def call_with(self, function: Function, given: list[Any]) -> Any:
        text = f"{function.name}({', '.join(described(self.world, one) for one in given)})"
        place = self.record.enter(self.slot, text)
        if self.trace:
            print(f"{self.slot}{'  ' * self.depth} {text}", flush=True)
        outcome, result = "returned", None
        try:
            result = function.call(*given)
        except scalars.Planned:
            outcome = "raised"
            self._forget_freed(function, given)
        except REFUSALS as error:
            outcome = "refused"
            self.reasons[function.name] = f"{type(error).__name__}: {error}"[:300]
            self._learn_from_refusal(function, given, str(error))
        self.record.leave(place)
        self.counts[function.name][outcome] += 1
        if self.trace:
            print(f"{self.slot}{'  ' * self.depth}   {outcome} {result!r}", flush=True)
        if outcome == "returned":
            self._learn(function, given, result)
        return result

    def _learn_from_refusal(self, function: Function, given: list[Any], error: str) -> None:
        """A handle that is said to be freed, or none, is not alive."""
        said = re.match(rf"{function.name}\(\): (\w+) .*(?:freed|not |is a )", error, re.S)
        for parameter, one in zip(function.parameters, given, strict=True):
            if said and parameter.name == said[1] and parameter.kind:
                self.world.drop(parameter.kind, address_of(one))

    def _learn(self, function: Function, given: list[Any], result: Any) -> None:
        named = dict(zip((parameter.name for parameter in function.parameters), given, strict=True))
        self._forget_freed(function, given)
        kind = kind_of(function.result)
        if kind and (address := address_of(result)):
            self.world.add(kind, address)
        elif isinstance(result, ctypes.Structure):
            if type(result).__name__ == structs.BATCH and {"embd", "n_seq_max"} <= named.keys():
                structs.fill(self, result, *map(int, named.values()))
            self.world.add_value(result)
        elif isinstance(result, int) and result > 0 and isinstance(named.get("dst"), ctypes.Array):
            self.world.add_state(bytes(named["dst"])[:result])

    def _forget_freed(self, function: Function, given: list[Any]) -> None:
        for parameter, one in zip(function.parameters, given, strict=True):
            if parameter.name == function.rules.frees and parameter.kind:
                self.world.drop(parameter.kind, address_of(one))


def address_of(handle: Any) -> int:
    """Return the address that a handle is, in whichever form it was handed in; 0 where it is none."""
    if isinstance(handle, ctypes.c_void_p):
        return handle.value or 0
    if isinstance(handle, ctypes._Pointer):
        return ctypes.addressof(handle.contents) if handle else 0
    if isinstance(handle, ffi.CData):
        return int(ffi.cast("intptr_t", handle))
    return handle if isinstance(handle, int) else 0
