"""The store of model files: what comes whole stays, what does not is never loaded, what is in use is never removed."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slicebed_agent.model.files import Store, StoreError


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _put(store, data: bytes):
    return store.put(io.BytesIO(data), _sha(data), size_bytes=len(data))


def _python(code: str, *args) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)], stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_a_file_is_found_again_under_its_hash(store, tmp_path):
    data = os.urandom(3_000_000)
    path = _put(store, data)
    assert path.read_bytes() == data
    assert store.get(_sha(data)) == path
    other = tmp_path / "source"
    other.write_bytes(b"from a path")
    assert store.put(other, _sha(b"from a path")).read_bytes() == b"from a path"
    assert store.get(_sha(b"never came")) is None


@pytest.mark.parametrize(
    ("arrives", "announced_bytes"),
    [
        (b"half of i", 17),
        (b"half of it missing, or more", 17),
        (b"another content..", 17),
        (b"", 17),
        (b"another", None),
    ],
)
def test_what_does_not_arrive_as_announced_leaves_nothing(store, arrives, announced_bytes):
    wanted = _sha(b"half of it is gone"[:17])
    with pytest.raises(StoreError, match="announced"):
        store.put(io.BytesIO(arrives), wanted, size_bytes=announced_bytes)
    assert store.get(wanted) is None
    assert list(store.folder.iterdir()) == []


def test_a_stream_longer_than_announced_is_not_read_to_its_end(store):
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return b"x" * size

    with pytest.raises(StoreError, match="more came"):
        store.put(Endless(), _sha(b"small"), size_bytes=5)
    assert list(store.folder.iterdir()) == []


def test_a_source_that_breaks_off_is_told_and_leaves_nothing(store, tmp_path):
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError("connection reset")

    with pytest.raises(StoreError, match="connection reset"):
        store.put(Broken(), _sha(b"x"))
    assert list(store.folder.iterdir()) == []
    with pytest.raises(StoreError, match="No such file"):
        store.put(tmp_path / "not there", _sha(b"x"))


@pytest.mark.parametrize("damage", ["cut short", "one bit", "emptied"])
def test_a_damaged_file_is_never_handed_out(store, damage):
    data = os.urandom(10_000)
    path = _put(store, data)
    if damage == "one bit":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    else:
        os.truncate(path, 5_000 if damage == "cut short" else 0)
    assert store.get(_sha(data)) is None
    with pytest.raises(StoreError, match="copy the model"), store.use(_sha(data)):
        pass
    assert _put(store, data).read_bytes() == data  # and it can come again


def test_names_that_are_no_hash_never_reach_the_disk(store):
    for name in ("../../etc/passwd", "", "A" * 64, "0" * 63):
        with pytest.raises(StoreError, match="no SHA-256"):
            store.get(name)


def test_the_least_recently_used_go_first(store):
    datas = [bytes([number]) * 1000 for number in range(4)]
    for number, data in enumerate(datas):
        path = _put(store, data)
        os.utime(path.with_name(path.name + ".verified"), ns=(number, number))
    store.get(_sha(datas[0]))
    cleaned = store.clean(2000)
    assert cleaned.removed == (_sha(datas[1]), _sha(datas[2]))
    assert cleaned.bytes_left == 2000
    assert [store.get(_sha(data)) is not None for data in datas] == [True, False, False, True]


def test_a_file_in_use_stays_until_it_is_let_go(store):
    _put(store, b"used")
    _put(store, b"idle")
    with store.use(_sha(b"used")) as path:
        cleaned = store.clean(0)
        assert cleaned.removed == (_sha(b"idle"),)
        assert cleaned.in_use == (_sha(b"used"),)
        assert path.read_bytes() == b"used"
    assert store.clean(0).removed == (_sha(b"used"),)
    assert list(store.folder.iterdir()) == []


def test_another_process_that_uses_a_file_is_respected(store):
    path = _put(store, b"used elsewhere")
    code = """
        import sys, pathlib
        from slicebed_agent.model.files import Store
        with Store(pathlib.Path(sys.argv[1])).use(sys.argv[2]):
            print("holding", flush=True)
            sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(store.folder), path.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "holding\n"
    assert store.clean(0).in_use == (path.name,)
    process.communicate("")
    assert store.clean(0).removed == (path.name,)


def test_a_copy_that_was_killed_is_swept_and_one_under_way_is_not(store):
    code = """
        import os, sys, pathlib
        from slicebed_agent.model.files import Store
        with Store(pathlib.Path(sys.argv[1])).writing() as incoming:
            incoming.write(b"half")
            incoming.settle()
            print("half", flush=True)
            os.kill(os.getpid(), 9)
    """
    process = _python(code, store.folder)
    assert process.stdout.read() == "half\n"
    process.wait()
    process.stdout.close()
    with store.writing() as incoming:
        incoming.write(b"still coming")
        assert len(list(store.folder.iterdir())) == 2
        assert store.sweep() == 1
        assert store.keep(incoming).read_bytes() == b"still coming"


def test_processes_that_bring_the_same_file_at_once_all_get_it(store):
    code = """
        import io, sys, pathlib
        from slicebed_agent.model.files import Store
        data = bytes(range(256)) * 4096
        store = Store(pathlib.Path(sys.argv[1]))
        for _ in range(20):
            with store.writing() as incoming:
                incoming.write(data)
                path = store.keep(incoming)
            try:
                assert path.read_bytes() == data
            except FileNotFoundError:
                assert sys.argv[2] != "0"  # only the first removes files
            if sys.argv[2] == "0":
                store.clean(0)
                store.put(io.BytesIO(data), path.name)
    """
    processes = [_python(code, store.folder, number) for number in range(3)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]
    data = bytes(range(256)) * 4096
    assert store.get(_sha(data)).read_bytes() == data
    assert not list(store.folder.glob("*.partial"))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["put", "damage", "clean", "get", "forget mark"]), st.integers(0, 4))))
def test_whatever_happens_only_whole_files_are_handed_out(tmp_path_factory, steps):
    store = Store(tmp_path_factory.mktemp("store"))
    for step, number in steps:
        data = bytes([number]) * (100 + number)
        path = store.path_of(_sha(data))
        if step == "put":
            _put(store, data)
        elif step == "damage" and path.exists():
            path.write_bytes(data[:-1])
        elif step == "forget mark":
            path.with_name(path.name + ".verified").unlink(missing_ok=True)
        elif step == "clean":
            assert store.clean(250).bytes_left <= 250
        found = store.get(_sha(data))
        assert found is None or found.read_bytes() == data
