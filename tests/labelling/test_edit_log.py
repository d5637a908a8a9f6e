"""The log of edits: what was written is read back, and damage of any kind is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.errors import DataError, OutputError
from pixelwise.labelling.edit_log import EditLog, LogRecord, cut, deflated, inflated, open_log

IMAGE = {"kind": "image", "name": "a\udcff.png", "width": 4, "height": 3}


def written(path: Path, number: int) -> EditLog:
    log = EditLog(path, IMAGE)
    for i in range(number):
        log.append(LogRecord({"kind": "edit", "id": f"é{i}"}, deflated(bytes([i]) * 100)))
        log.written(log.write(list(log.pending)))
    return log


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    log = written(tmp_path / "a.log", 5)
    again = open_log(tmp_path / "a.log", {})
    records = list(again.records())
    assert again.image == IMAGE
    assert [record.header["id"] for record in records] == ["é0", "é1", "é2", "é3", "é4"]
    assert inflated(records[3].payload, 100) == bytes([3]) * 100
    assert (again.entries, again.size, again.tail.lost) == (log.entries, log.size, 0)
    assert again.read(2) == records[2]
    again.append(LogRecord({"kind": "undo"}))
    assert again.read(5).header == {"kind": "undo"}


def test_headers_alone(tmp_path: Path) -> None:
    written(tmp_path / "a.log", 5)
    log = open_log(tmp_path / "a.log", {})
    assert [len(record.payload) > 0 for record in log.records(checked_from=3)] == [False, False, False, True, True]


def test_every_torn_end_is_found_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    entries = written(path, 2).entries
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        log = open_log(path, IMAGE)
        number = len(list(log.records()))
        assert number == sum(entry.offset + entry.length <= size for entry in entries)
        assert log.size + log.tail.lost == size
        if log.tail.lost:
            assert "killed" in cut(path, log.tail)
        log.append(LogRecord({"kind": "undo"}))
        log.written(log.write(list(log.pending)))
        again = open_log(path, {})
        assert len(list(again.records())) == number + 1
        assert again.tail.lost == 0


def test_every_changed_byte_of_the_last_record_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    last = written(path, 2).entries[-1]
    data = path.read_bytes()
    for place in range(last.offset, last.offset + last.length):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x11]) + data[place + 1 :])
        log = open_log(path, IMAGE)
        assert len(list(log.records())) == 1
        assert log.tail.lost == last.length


def test_hostile_lengths_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    end = written(path, 1).size
    path.write_bytes(path.read_bytes() + b"\xff" * 12)
    log = open_log(path, IMAGE)
    assert len(list(log.records())) == 1
    assert (log.tail.offset, log.tail.lost) == (end, 12)
    with pytest.raises(DataError, match="at most 10 bytes"):
        inflated(deflated(bytes(1 << 20)), 10)
    with pytest.raises(DataError, match="cannot be read"):
        inflated(b"no zlib", 10)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"GIF89a" + bytes(30))
    with pytest.raises(DataError, match="no log of edits"):
        open_log(tmp_path / "a.log", IMAGE)
    with pytest.raises(DataError, match="cannot be read"):
        open_log(tmp_path, IMAGE)
    assert len(open_log(tmp_path / "missing.log", IMAGE)) == 0


def test_a_log_that_vanished_is_not_begun_again(tmp_path: Path) -> None:
    log = written(tmp_path / "a.log", 1)
    (tmp_path / "a.log").unlink()
    with pytest.raises(OutputError, match="cannot be saved"):
        log.write([LogRecord({"kind": "undo"})])
    assert not (tmp_path / "a.log").exists()
