"""The CPUs that a process may use: those of its affinity, as far as the quota of its cgroup pays for them in full.

The cgroups stand in a folder that takes the place of the root: what Linux shows in /proc/self and /sys/fs/cgroup (see
cgroups(7)), as it is on plain machines, in containers and with both versions.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import llamacffi
from llamacffi._native import usable_cpus
from support.cells import returns
from support.compute_threads import affinity

CPUS = sorted(os.sched_getaffinity(0))  # one, on some machines
ALL = len(CPUS)

MOUNTS = """
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw,nosuid,nodev,noexec shared:12 - proc proc rw
"""
UNIFIED = "31 22 0:26 {top} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = "32 22 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n"
CPUSET = "33 22 0:28 / /sys/fs/cgroup/cpuset rw,nosuid - cgroup cgroup rw,cpuset\n"
CPU = "34 22 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:11 - cgroup cgroup rw,cpu,cpuacct\n"


@dataclass(frozen=True)
class Root:
    """What a process sees of its cgroups."""

    own: str = ""  # /proc/self/cgroup
    mounts: str = ""
    quotas: dict[str, str] = field(default_factory=dict)  # the files below /sys/fs/cgroup

    def write(self, folder: Path) -> str:
        """Write the files; return what stands before their paths."""
        write(folder / "proc/self/cgroup", self.own)
        write(folder / "proc/self/mountinfo", MOUNTS + self.mounts)
        for path, text in self.quotas.items():
            write(folder / "sys/fs/cgroup" / path, text)
        return str(folder)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def v2(own: str, top: str = "/", **quotas: str) -> Root:
    """Make a root with cgroups of version 2: the text of cpu.max by its folder, `mounted` for the topmost."""
    folders = {"mounted": "", "a": "a", "a_b": "a/b", "a_b_c": "a/b/c"}
    files = {os.path.join(folders[name], "cpu.max"): f"{quota}\n" for name, quota in quotas.items()}  # noqa: PTH118
    return Root(f"0::{own}\n", UNIFIED.format(top=top), files)


def v1(own: str, top: str = "/", folder: str = "", quota: int = -1, period: int = 100_000) -> Root:
    """Make a root with cgroups of version 1, where each controller is a hierarchy."""
    base = f"cpu,cpuacct/{folder}"
    files = {f"{base}/cpu.cfs_quota_us": f"{quota}\n", f"{base}/cpu.cfs_period_us": f"{period}\n"}
    own_cgroups = f"9:cpuset:/elsewhere\n4:cpu,cpuacct:{own}\n1:name=systemd:/elsewhere\n"
    return Root(own_cgroups, CPUSET + CPU.format(top=top), files)


def both(unified: Root, other: Root) -> Root:
    """Mount version 1, and version 2 in the folder `unified` beside it, as older systemd does."""
    moved = {f"unified/{path}": text for path, text in unified.quotas.items()}
    return Root(other.own + unified.own, HYBRID + other.mounts, moved | other.quotas)


FOR_ONE = {
    "v2: one CPU": v2("/a", a="100000 100000"),
    "v2: one and a half": v2("/a", a="150000 100000"),
    "v2: half a one": v2("/a", a="50000 100000"),
    "v2: another period": v2("/a", a="15000 10000"),
    "v2: further up": v2("/a/b/c", a="100000 100000", a_b="max 100000", a_b_c="max 100000"),
    "v2: further up, where the folder itself has no file": v2("/a/b/c", a="100000 100000"),
    "v2: the least of several": v2("/a/b", a="800000 100000", a_b="100000 100000"),
    "v2: at the top of a container's namespace": v2("/", mounted="100000 100000"),
    "v2: a container that sees the host's path": Root(
        "0::/a/b\n", UNIFIED.format(top="/a/b"), {"cpu.max": "100000 100000\n"}
    ),
    "v2: below the cgroup that is mounted": Root(
        "0::/a/b/c\n", UNIFIED.format(top="/a/b"), {"c/cpu.max": "100000 100000\n"}
    ),
    "v2: a process from outside of the namespace": v2("/../../b", mounted="100000 100000"),
    "v1: one and a half": v1("/a", folder="a", quota=150_000),
    "v1: further up": v1("/a/b", folder="a", quota=100_000),
    "v1: another period": v1("/a", folder="a", quota=10_000, period=10_000),
    "v1: a container that sees the host's path": v1("/docker/1f", top="/docker/1f", quota=100_000),
    "both: v1 has the quota": both(v2("/a", a="max 100000"), v1("/a", folder="a", quota=100_000)),
    "both: v2 has the quota": both(v2("/a", a="100000 100000"), v1("/a", folder="a")),
}

FOR_TWO = {
    "v2: two CPUs": v2("/a", a="200000 100000"),
    "v2: nearly three": v2("/a", a="299999 100000"),
    "v1: two and a half": v1("/a", folder="a", quota=250_000),
}

FOR_ALL = {
    "no cgroups": Root(),
    "v2: max": v2("/a", a="max 100000"),
    "v2: the root cgroup has no file": v2("/"),
    "v2: more than there are": v2("/a", a="100000000 100000"),
    "v2: a sibling's": v2("/a", a_b="100000 100000"),
    "v2: no mount": Root("0::/a\n", "", {"a/cpu.max": "100000 100000\n"}),
    "v2: nonsense": v2("/a", a="some text"),
    "v2: a period of nothing": v2("/a", a="100000 0"),
    "v1: none": v1("/a", folder="a", quota=-1),
    "v1: of the controller cpuset": Root("9:cpuset:/a\n", CPUSET, {"cpuset/a/cpu.cfs_quota_us": "100000\n"}),
}


@pytest.mark.parametrize("name", FOR_ONE)
@returns(1)
def test_a_quota_for_less_than_two_leaves_one(name: str, folder: Path) -> object:
    return usable_cpus(FOR_ONE[name].write(folder))


@pytest.mark.parametrize("name", FOR_TWO)
@returns(min(2, ALL))
def test_a_quota_for_less_than_three_leaves_two(name: str, folder: Path) -> object:
    return usable_cpus(FOR_TWO[name].write(folder))


@pytest.mark.parametrize("name", FOR_ALL)
@returns(ALL)
def test_what_is_no_quota_leaves_those_of_the_affinity(name: str, folder: Path) -> object:
    return usable_cpus(FOR_ALL[name].write(folder))


@returns(ALL)
def test_no_files_at_all_leave_those_of_the_affinity(folder: Path) -> object:
    return usable_cpus(str(folder / "not there"))


@returns((1, min(2, ALL)))
def test_the_affinity_is_the_calling_thread_s(folder: Path) -> object:
    counts = []
    for count in (1, 2):
        with affinity(set(CPUS[:count])):
            counts.append(usable_cpus(str(folder)))
    return tuple(counts)


@returns(1)
def test_a_quota_for_more_than_the_affinity_has_leaves_the_affinity(folder: Path) -> object:
    with affinity({CPUS[-1]}):
        return usable_cpus(v2("/a", a="200000 100000").write(folder))


@returns(True)
def test_the_public_function_looks_at_this_machine() -> bool:
    return bool(1 <= llamacffi.usable_cpus() == usable_cpus("") <= ALL)


@returns(ALL)
def test_a_cgroup_whose_name_begins_like_the_mounted_one(folder: Path) -> object:
    return usable_cpus(Root("0::/a/bcd\n", UNIFIED.format(top="/a/b")).write(folder))


@returns(1)
def test_a_mount_with_a_space_in_its_path(folder: Path) -> object:
    """proc(5): mountinfo has \\040 for it."""
    root = Root(
        "0::/\n", UNIFIED.format(top="/").replace("fs/cgroup", "fs/cgroup/a\\040b"), {"a b/cpu.max": "100000 100000"}
    )
    return usable_cpus(root.write(folder))
