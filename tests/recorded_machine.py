"""Writes what the kernel tells of a machine into a folder, from where it is read like this machine's own."""

from pathlib import Path


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", encoding="utf-8")


def write_cgroup_v2(root: Path, own: str, mounted_root: str = "/") -> None:
    write(root, "proc/self/cgroup", f"0::{own}")
    write(
        root,
        "proc/self/mountinfo",
        "22 27 0:21 / /proc rw - proc proc rw\n"
        f"31 23 0:28 {mounted_root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate",
    )


def write_cgroup_v1(root: Path, own: str, mounted_root: str = "/") -> None:
    write(
        root,
        "proc/self/cgroup",
        f"9:name=systemd:{own}\n4:memory:{own}\n1:cpu,cpuacct:{own}\n0::/system.slice",
    )
    write(
        root,
        "proc/self/mountinfo",
        f"32 31 0:29 {mounted_root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        f"35 31 0:32 {mounted_root} /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    )
