"""Rows of one parquet file, read by several threads at a time: pyarrow crashes where they share an open file."""

import subprocess
import sys
from pathlib import Path

import pytest

READ = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq
from pixelwise.datasets.formats.parquet import image_bytes
from pixelwise.records import Sample

path, rows = Path(sys.argv[1]), 200
files = [bytes([number % 256]) * 3000 for number in range(rows)]
table = pa.table({"image": [{"bytes": data, "path": str(i)} for i, data in enumerate(files)]})
pq.write_table(table, path, row_group_size=2)
with ThreadPoolExecutor(8) as pool:
    for _ in range(5):
        samples = [Sample(str(i), path, None, f"parquet:{i}/image") for i in range(rows)]
        entries = [sample.image_part.partition(":")[2] for sample in samples]
        assert list(pool.map(lambda entry: image_bytes(path, entry), entries)) == files
"""


def test_rows_are_read_by_several_threads(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed; install pixelwise[formats]")
    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / "a.parquet"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
