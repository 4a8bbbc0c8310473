"""Cores and memory that a process may use: by affinity, cgroups of both versions, and the topology of the CPU."""

import os
import subprocess
import sys

import pytest

from charrnn import system

CPUS = frozenset(range(8))
MOUNT = "30 23 0:26 {root} {at} rw,nosuid - {kind} {kind} rw,{options}\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 8 CPUs under tmp_path, with no cgroups and no topology until a test writes them there."""
    monkeypatch.setattr(system, "PROCESS", tmp_path / "proc")
    monkeypatch.setattr(system, "DEVICES", tmp_path / "devices")
    monkeypatch.setattr(system, "_affinity", lambda: CPUS)
    monkeypatch.delenv("CHARRNN_NUM_THREADS", raising=False)
    forget()
    yield tmp_path
    forget()


def forget():
    for cached in (system._cgroup_folders, system._cpu_quota, system._siblings, system._slow_cpus):
        cached.cache_clear()


def write(path, text):
    forget()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def cgroups(machine, groups, **mounts):
    """Cgroups as /proc/self tells of them; a mount is its kind, root and options."""
    write(machine / "proc" / "cgroup", groups)
    lines = [
        MOUNT.format(at=machine / name, kind=kind, root=root, options=options)
        for name, (kind, root, options) in mounts.items()
    ]
    write(machine / "proc" / "mountinfo", "".join(lines))


def test_without_cgroups_all_cpus_of_the_affinity_count(machine):
    assert system.available_cpus() == 8
    assert system.num_threads_or_default(None) == 8


@pytest.mark.parametrize(
    "quota, cpus", [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5 100000", 1)]
)
def test_quota_of_cgroup_v2(machine, quota, cpus):
    cgroups(machine, "0::/pod/app\n", unified=("cgroup2", "/", "nsdelegate"))
    write(machine / "unified" / "pod" / "app" / "cpu.max", quota)
    assert system.available_cpus() == cpus


def test_quota_of_a_cgroup_above_binds_too(machine):
    cgroups(machine, "0::/pod/app\n", unified=("cgroup2", "/", "nsdelegate"))
    write(machine / "unified" / "pod" / "app" / "cpu.max", "max 100000")
    write(machine / "unified" / "pod" / "cpu.max", "300000 100000")
    assert system.available_cpus() == 3


@pytest.mark.parametrize("quota, cpus", [("-1", 8), ("200000", 2), ("50000", 1)])
def test_quota_of_cgroup_v1(machine, quota, cpus):
    cgroups(
        machine,
        "4:memory:/m\n3:cpu,cpuacct:/docker/abc\n0::/\n",
        cpu=("cgroup", "/docker/abc", "cpu,cpuacct"),
        memory=("cgroup", "/", "memory"),
    )
    write(machine / "cpu" / "cpu.cfs_quota_us", quota)
    write(machine / "cpu" / "cpu.cfs_period_us", "100000")
    assert system.available_cpus() == cpus


def test_cgroup_path_outside_what_is_mounted_means_the_mount_itself(machine):
    cgroups(machine, "0::/../other\n", unified=("cgroup2", "/", "nsdelegate"))
    write(machine / "unified" / "cpu.max", "100000 100000")
    assert system.available_cpus() == 1


def test_memory_limits_of_both_versions(machine):
    cgroups(
        machine,
        "4:memory:/box\n0::/pod\n",
        memory=("cgroup", "/", "memory"),
        unified=("cgroup2", "/", "nsdelegate"),
    )
    unlimited = system.memory_size()
    write(machine / "memory" / "box" / "memory.limit_in_bytes", "9223372036854771712\n")
    assert system.memory_size() == unlimited
    write(machine / "memory" / "box" / "memory.limit_in_bytes", "50000000\n")
    assert system.memory_size() == 50_000_000
    write(machine / "unified" / "pod" / "memory.max", "max\n")
    assert system.memory_size() == 50_000_000
    write(machine / "unified" / "memory.max", "40000000\n")
    assert system.memory_size() == 40_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux tells it")
def test_default_is_one_thread_for_each_physical_core(machine):
    for cpu in CPUS:
        siblings = machine / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        write(siblings, f"{cpu % 4},{cpu % 4 + 4}\n")
    assert system.num_threads_or_default(None) == 4
    assert system.num_threads_or_default(8) == 8  # asked for by name


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux tells it")
def test_default_leaves_out_efficiency_cores(machine):
    write(machine / "devices" / "cpu_atom" / "cpus", "2,4-7\n")
    assert system.num_threads_or_default(None) == 3


def test_no_more_threads_than_cpus_however_many_are_asked_for(machine, monkeypatch):
    assert system.num_threads_or_default(1024) == 8
    monkeypatch.setenv("CHARRNN_NUM_THREADS", "16")
    assert system.num_threads_or_default(None) == 8


def test_a_step_too_small_to_share_has_one_thread(machine):
    assert system.threads_worth(8, 1e6) == 1
    assert system.threads_worth(8, 3.5e7) == 3
    assert system.threads_worth(8, 1e12) == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_affinity_of_the_process_is_seen():
    program = (
        "import os; cpus = os.sched_getaffinity(0); os.sched_setaffinity(0, {min(cpus)});"
        "from charrnn import system; print(system.available_cpus(), system.num_threads_or_default(2))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "1 1\n"
