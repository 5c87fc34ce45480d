"""Logs in .zip archives, as Kaggle hands them out."""

import io
import zipfile

import pytest
from conftest import make_config

from pipeline.artifacts import examples
from pipeline.artifacts.layout import SPLITS
from pipeline.components.example_gen.component import example_gen
from pipeline.errors import PipelineError

ROWS = 300
LOG = "user,click\n" + "".join(f"u{i},{i % 2}\n" for i in range(ROWS))


def _zip(files, encrypted=False):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    content = bytearray(content.getvalue())
    if encrypted:  # the flag of the directory's entry and of the file's own head
        content[content.index(b"PK\x01\x02") + 8] |= 1
        content[6] |= 1
    return bytes(content)


def _run(content, folder, name="log.csv.zip"):
    (folder / name).write_bytes(content)
    out = folder / "out"
    out.mkdir()
    config = make_config({"logs": [str(folder / name)], "max_dead_letter_rate": 1.0})
    example_gen(config, {}, {"examples": out})
    return [
        user
        for split in SPLITS
        for batch in examples.read_batches(out / f"Split-{split}")
        for user in batch["user"].to_pylist()
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"log.csv": LOG},
        {"data/": "", "data/log.csv": LOG},
        {"__MACOSX/._log.csv": "\x00", "log.csv": LOG, ".DS_Store": "x"},
    ],
    ids=["alone", "in a folder", "beside what macOS adds"],
)
def test_the_only_file_is_the_log(files, tmp_path):
    assert sorted(_run(_zip(files), tmp_path)) == sorted(f"u{i}" for i in range(ROWS))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_zip({"a.csv": LOG, "b.csv": LOG}), "must hold one file. Received: 2 files"),
        (_zip({}), "must hold one file. Received: 0 files"),
        (_zip({"a.csv": LOG}, encrypted=True), "password required.* Unzip it"),
        (LOG.encode(), "File is not a zip file"),
        (_zip({"a.csv": LOG})[:-40], "File is not a zip file"),
    ],
    ids=["two", "none", "encrypted", "no zip", "cut off"],
)
def test_others_are_refused(content, reason, tmp_path):
    with pytest.raises(PipelineError, match=rf"log\.csv\.zip: cannot be.*{reason}"):
        _run(content, tmp_path)


def test_damage_is_no_end_of_the_file(tmp_path):
    content = bytearray(_zip({"log.csv": LOG}))
    content[200] ^= 0xFF
    with pytest.raises(
        PipelineError, match=r"log\.csv\.zip: cannot be read to its end"
    ):
        _run(bytes(content), tmp_path)
