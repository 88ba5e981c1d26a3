"""Imported by every Python of the sanitizers' sessions, which have this folder on PYTHONPATH.

A sanitizer's shadow memory takes terabytes of addresses, so a test's limit of its address space would end the process.
"""

import resource

_set = resource.setrlimit


def setrlimit(what: int, limits: tuple[int, int]) -> None:
    if what != resource.RLIMIT_AS:
        _set(what, limits)


resource.setrlimit = setrlimit
