"""System calls that Python's standard library does not wrap: Landlock, seccomp, capabilities.

Linux on x86-64 and arm64. Interfaces: landlock(7), seccomp(2), capabilities(7).
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ = 0b1100
_READ_FILE = 0b100
_READ_WRITE_FILE = 0b110
_FILE_RIGHTS = (0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
"""All rights on files that Landlock governs, by its ABI version, from 1; later ones add none."""

_FOLDER_RIGHTS = 0x1FFE  # all of version 1 but execution
_PORTS, _SIGNALS_AND_SOCKETS = 0b11, 0b11
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER_MODE = 38, 22, 2
_CAPABILITY_VERSION = 0x20080522

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_OFFSET, _MACHINE_OFFSET, _ARGUMENT_OFFSET = 0, 4, 16
_X32_CALLS = 0x40000000
_THREAD = 0x00010000

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The column of `_REFUSED`, and the kernel's number, of each machine."""

_CLONE, _CLONE3, _CAPSET = (56, 220), 435, (126, 91)
_REFUSED = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "fork": (57, None),
    "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129),
    "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "io_uring_setup": (425, 425), "mount": (165, 40), "umount2": (166, 39), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "open_by_handle_at": (304, 265),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "memfd_create": (319, 279), "setrlimit": (160, 164), "prlimit64": (302, 261),
    "setpriority": (141, 140),
}  # fmt: skip


def unsupported() -> str | None:
    """Why this machine cannot confine a process, or None."""
    if sys.platform != "linux":
        return f"it needs Linux, not {sys.platform}"
    if platform.machine() not in _MACHINES:
        return f"it knows x86-64 and arm64, not {platform.machine()}"
    if _landlock_version() < 1:
        return "this kernel has no Landlock (Linux 5.13 or newer, not switched off)"
    return None


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result = library.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _control(*arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(*arguments) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _landlock_version() -> int:
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def allow_files(read: Iterable[Path], write: Path, devices: Sequence[Path]) -> None:
    """Confine this process to reading beneath `read`, and to reading and writing beneath `write`.

    Paths that do not exist are left out; `devices` are single files, read and written.

    Raises:
        OSError: the kernel refuses.
    """
    version = _landlock_version()
    handled = _FILE_RIGHTS[min(version, len(_FILE_RIGHTS)) - 1]
    attributes = struct.pack("=QQQ", handled, _PORTS, _SIGNALS_AND_SOCKETS)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    folder_rights = _FOLDER_RIGHTS | (handled & 0x4000)
    rules = [(path, _READ if path.is_dir() else _READ_FILE) for path in read]
    rules += [(write, folder_rights), *((path, _READ_WRITE_FILE) for path in devices)]
    for path, rights in rules:
        if not path.exists():
            continue
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", rights, place)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, ctypes.c_uint32(0))
        os.close(place)
    _control(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
    os.close(ruleset)


def drop_capabilities() -> None:
    """Give up the privileges of root, so that limits cannot be raised again."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    _call(_CAPSET[_MACHINES[platform.machine()][0]], header, bytes(24))


def refuse_calls() -> None:
    """Refuse network sockets, further processes, signals to others and changes of limits.

    Threads stay possible. Must run in the only thread of the process.

    Raises:
        OSError: the kernel refuses.
    """
    column, machine = _MACHINES[platform.machine()]
    refusal = (_RETURN, 0, 0, _ERRNO | _EPERM)
    program = [
        (_LOAD, 0, 0, _MACHINE_OFFSET),
        (_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_AT_LEAST, 0, 1, _X32_CALLS),
        refusal,
        (_EQUAL, 0, 1, _CLONE3),  # its flags are in memory: without it, clone is used
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
    ]
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            program += [(_EQUAL, 0, 1, number), refusal]
    program += [
        (_EQUAL, 0, 3, _CLONE[column]),
        (_LOAD, 0, 0, _ARGUMENT_OFFSET),
        (_ANY_BIT, 1, 0, _THREAD),
        refusal,
        (_RETURN, 0, 0, _ALLOW),
    ]
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    code = ctypes.create_string_buffer(packed, len(packed))
    filters = struct.pack("@HP", len(program), ctypes.addressof(code))
    _control(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _control(_SECCOMP, _FILTER_MODE, filters, 0, 0)
