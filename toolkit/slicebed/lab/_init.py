"""The first process of a lab host: builds the host's own root file system, then becomes catatonit and sshd.

It runs as a file, by ``nsenter --net=... unshare --mount --uts --ipc --pid --fork``, with the standard library only:
no import may be left to do after ``pivot_root``, when the parent's files are gone.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import sys
from pathlib import Path

# include/uapi/linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 0x2
# arch/*/include/.../unistd: pivot_root has no wrapper in glibc
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """Mount one file system; an error names its source and target."""
    result = _LIBC.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind or 'bind'} {source}: {os.strerror(number)}", str(target))


def bind(source: Path, target: Path, *, recursive: bool = False, read_only: bool = False) -> None:
    """Show a directory of the parent at a second place."""
    target.mkdir(parents=True, exist_ok=True)
    mount(str(source), target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        mount(str(source), target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def build_root(base: Path, parent_images: Path, host_images: Path) -> Path:
    """Mount everything the host sees below ``base/root``."""
    root = base / "root"
    mount("none", Path("/"), flags=MS_REC | MS_PRIVATE)
    mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={base}/upper,workdir={base}/work")
    mount("proc", root / "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    # A sysfs of its own shows this host's interfaces; the parent's would show the parent's.
    mount("sysfs", root / "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("/sys/fs/cgroup", root / "sys/fs/cgroup", flags=MS_BIND | MS_REC)
    mount("/dev", root / "dev", flags=MS_BIND | MS_REC)
    mount("devpts", root / "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,gid=5,mode=620,ptmxmode=666")
    # podman keeps its locks in /dev/shm: shared with the parent they would be one engine's.
    mount("tmpfs", root / "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    mount("tmpfs", root / "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    mount("tmpfs", root / "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    (root / "run/sshd").mkdir(mode=0o755)
    (root / "run/lock").mkdir(mode=0o1777)
    # overlay on overlay is refused, so the engine's store needs a real directory.
    bind(base / "containers", root / "var/lib/containers")
    bind(parent_images, root / host_images.relative_to("/"), read_only=True)
    return root


def enter_root(root: Path) -> None:
    """Call pivot_root(2) with ``root`` and let go of the parent's file system; see the man page for the two dots."""
    os.chdir(root)
    if _LIBC.syscall(ctypes.c_long(PIVOT_ROOT[platform.machine()]), b".", b".") != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"pivot_root: {os.strerror(number)}", str(root))
    if _LIBC.umount2(b".", MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"umount of the parent's root: {os.strerror(number)}")
    os.chdir("/")


def main() -> None:
    """Read the one argument (JSON), build the host, report on ``ready_fd`` and become the host's init."""
    wanted = json.loads(sys.argv[1])
    report = int(wanted["ready_fd"])
    os.set_inheritable(report, False)  # noqa: FBT003 - positional only in CPython
    try:
        socket.sethostname(wanted["hostname"])
        os.umask(0o022)
        enter_root(build_root(Path(wanted["base"]), Path(wanted["parent_images"]), Path(wanted["host_images"])))
    except (OSError, KeyError) as error:
        os.write(report, f"failed {error}\n".encode())
        sys.exit(1)
    os.write(report, b"ready\n")
    os.execv(wanted["command"][0], wanted["command"])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
