"""gs:// by a server of this machine: what a run needs of a store."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
from clusters.processes import free_port
from conftest import raw_config
from paths import ROOT
from until import until

from pipeline.config import Config
from pipeline.errors import PipelineError
from pipeline.run import run
from pipeline.storage import mirror, remote

pytest.importorskip("google.cloud.storage", reason="google-cloud-storage is missing")
SERVER = ROOT / ".engines" / "fake-gcs-server"
pytestmark = pytest.mark.skipif(
    not SERVER.is_file(), reason="needs Go and `make .engines/fake-gcs-server`"
)
URL = "gs://bucket/feed"


def _is_up(at):
    try:
        urllib.request.urlopen(f"{at}/storage/v1/b?project=p").close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def server():
    """Runs the server, and sends the client of this process to it."""
    from pipeline.storage import gcs

    port = free_port()
    at = f"http://127.0.0.1:{port}"
    line = [SERVER, "-scheme", "http", "-backend", "memory", "-port", str(port)]
    process = subprocess.Popen([*line, "-public-host", f"127.0.0.1:{port}"],
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        until(lambda: _is_up(at) or process.poll() is not None, "the server")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", at)
            patch.setenv("GOOGLE_CLOUD_PROJECT", "p")
            gcs.client.cache_clear()
            gcs.client().create_bucket("bucket")
            yield gcs
            gcs.client().close()
            gcs.client.cache_clear()
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def gs(server, tmp_path, monkeypatch):
    """The module, with an empty bucket; and a mirror, empty too."""
    monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / "mirror"))
    server.delete([f"gs://bucket/{name}" for name in server.files("gs://bucket")])
    for blob in server.client().list_blobs("bucket"):
        blob.delete()
    return server


def test_files_come_back(gs, tmp_path):
    names = {"a": b"", "b/ü c": b"x" * 3_000_000}
    for name, content in names.items():
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_bytes(content)
    remote.upload(tmp_path / "up", URL, names)
    found = remote.files(URL)
    assert {name: file.size for name, file in found.items()} == {
        name: len(content) for name, content in names.items()
    }
    assert {name: remote.version(f"{URL}/{name}") for name in names} == {
        name: file.version for name, file in found.items()
    }
    remote.download(URL, tmp_path / "down", names)
    assert {n: (tmp_path / "down" / n).read_bytes() for n in names} == names
    assert remote.read(f"{URL}/a") == b"" and remote.read(f"{URL}/z") is None
    assert remote.files("gs://bucket/fee") == {} == remote.files(f"{URL}/a")
    remote.delete([f"{URL}/a", f"{URL}/z"])
    assert [*remote.files(URL)] == ["b/ü c"] and not remote.exists(f"{URL}/a")


def test_of_several_one_creates_a_file(gs):
    assert remote.create(f"{URL}/.lock", b"me")
    first = remote.version(f"{URL}/.lock")
    assert not remote.create(f"{URL}/.lock", b"you")
    assert remote.read(f"{URL}/.lock") == b"me"
    remote.write(f"{URL}/.lock", b"me again")
    assert remote.version(f"{URL}/.lock") != first


def test_a_bucket_that_is_not_there_is_told(gs):
    with pytest.raises(PipelineError, match="gs://none/x: the store cannot be used"):
        remote.write("gs://none/x", b"")


def test_another_machine_goes_on(gs, tmp_path, monkeypatch):
    rows = [f"u{i % 50},{i % 7 > 3:d}" for i in range(300)]
    (tmp_path / "logs.csv").write_text("\n".join(["user,click", *rows]))
    raw = raw_config({"logs": [str(tmp_path / "logs.csv")]}, workspace=URL)
    contents = []
    for name in ("one", "other"):
        monkeypatch.setenv("TFMTL_MIRROR", str(tmp_path / name))
        lines = []
        found = run(Config.model_validate(raw), until="schema_gen", report=lines.append)
        assert sum(" cached " in line for line in lines) == (3 if contents else 0)
        place = found["schema"]
        contents.append(
            {n: Path(place / n).read_bytes() for n in mirror.names_in(place)}
        )
    assert contents[0] == contents[1] and not remote.exists(f"{URL}/.lock")
    assert json.loads(contents[0][mirror.MANIFEST])
