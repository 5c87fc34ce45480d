"""The command that runs all benchmarks."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def everything(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import everything

    yield everything
    sys.modules.pop("everything", None)


def test_it_has_all_of_them(everything):
    scripts = {b.arguments.split()[0] for b in everything.BENCHMARKS.values()}
    scripts |= {b.quick.split()[0] for b in everything.BENCHMARKS.values() if b.quick}
    there = {
        path.name
        for path in BENCHMARKS.glob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    assert scripts == there - {"everything.py"}


def test_it_goes_on_where_it_was_stopped(everything, monkeypatch, tmp_path, capsys):
    (tmp_path / "here.py").write_text(
        "import sys; print('figures', *sys.argv[1:]); sys.exit('bad' in sys.argv)"
    )
    monkeypatch.setattr(everything, "HERE", tmp_path)
    Benchmark = everything.Benchmark
    table = {
        "good": Benchmark("here.py a", "here.py b"),
        "bad": Benchmark("here.py bad", None),
        "far": Benchmark("here.py --data DATA", None, "far"),
    }
    monkeypatch.setattr(everything, "BENCHMARKS", table)
    out = tmp_path / "out"
    arguments = ["--output", str(out)]
    assert everything.main(arguments) == 1
    assert (out / "good.txt").read_text().splitlines()[1:] == [
        "$ python benchmarks/here.py a",
        "figures a",
    ]
    assert "figures bad" in (out / "bad.failed.txt").read_text()
    assert not (out / "bad.txt").exists()
    assert (
        "not run, for lack of a folder in --data: far (far)" in capsys.readouterr().out
    )

    (tmp_path / "data" / "far").mkdir(parents=True)
    table["bad"] = Benchmark("here.py mended", None)
    assert everything.main([*arguments, "--data", str(tmp_path / "data")]) == 0
    printed = capsys.readouterr().out
    assert "good                   has ended well before" in printed
    assert f"figures --data {tmp_path}/data/far" in (out / "far.txt").read_text()
    assert sorted(path.name for path in out.iterdir()) == [
        "bad.txt",
        "far.txt",
        "good.txt",
    ]

    assert everything.main(["--quick", *arguments, "good", "bad"]) == 0
    assert [path.name for path in (out / "quick").iterdir()] == ["good.txt"]
    with pytest.raises(SystemExit):
        everything.main(["better"])
    assert "unknown: better. There are good, bad, far" in capsys.readouterr().err
