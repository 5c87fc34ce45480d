"""What is shown of work: how far it is, on a terminal and in a log."""

import io
import pickle
import re

import pytest
from until import until

from pipeline import progress
from pipeline.progress import Done


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(params=[False, True], ids=["log", "terminal"])
def shown(request, monkeypatch):
    """A display whose looks the test takes itself, at times that it says."""
    stream, now = _Terminal() if request.param else io.StringIO(), [100.0]
    monkeypatch.setenv("COLUMNS", "80")
    display = progress._Display("Stage", clock=lambda: now[0])
    display.is_terminal = stream.isatty()
    monkeypatch.setattr(progress, "_shown", display)

    def look(at):
        now[0], start = 100.0 + at, len(stream.getvalue())
        with monkeypatch.context() as patch:  # pytest has set its own meanwhile
            patch.setattr("sys.stderr", stream)
            display.show()
        return stream.getvalue()[start:]

    yield look
    display.close()


def test_rows_their_share_and_the_time_left_are_shown(shown, tmp_path):
    with progress.counting(4000, tmp_path) as done:
        done.add(600)
        done.add(400)
        text = shown(at=60)
    assert "Stage: " in text and "1,000 rows" in text and " 25%" in text
    assert "01:00" in text and "03:00" in text  # passed, and left
    assert not list(tmp_path.iterdir())


def test_rows_of_files_are_weighed_by_their_bytes(shown, tmp_path):
    with progress.counting(1000, tmp_path) as done:
        done.add(7, 500)
        text = shown(at=60)
    assert "7 rows" in text and " 50%" in text


def test_what_is_tried_twice_is_no_more_than_all(shown, tmp_path):
    with progress.counting(10, tmp_path) as done:
        for _ in range(2):
            done.add(10)
        assert "100%" in shown(at=60)


def test_where_nobody_counts_the_step_and_the_time_are_shown(shown, tmp_path):
    progress.step("exports the model")
    assert re.search("Stage, exports the model.* 01:05", shown(at=65))
    with progress.counting(10, tmp_path, "looks", "files"):
        text = shown(at=66)
    assert "Stage, looks: " in text and "0 files" in text and " 0%" in text


def test_a_log_has_lines_and_no_control_characters(monkeypatch, capsys, tmp_path):
    display = progress._Display("Stage")
    monkeypatch.setattr(progress, "_shown", display)
    with progress.counting(10, tmp_path) as done:
        done.add(5)
        display.show()
    display.show()
    display.close()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "".join(lines).isprintable()


def test_a_bar_leaves_nothing_on_the_screen(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    display = progress._Display("Stage")
    display.show()
    display.close()
    assert "Stage" in terminal.getvalue()
    *_, last, nothing = terminal.getvalue().split("\r")
    assert not last.strip() and not nothing


def test_what_ends_at_once_shows_nothing(capsys, tmp_path):
    with progress.showing("Stage"), progress.counting(1, tmp_path) as done:
        done.add(1)
    assert capsys.readouterr() == ("", "")
    assert progress._shown is None


def test_where_nothing_is_shown_nothing_is_counted(tmp_path):
    with progress.counting(1, tmp_path) as done:
        done.add(1)
        assert not list(tmp_path.iterdir())


def test_looks_are_taken_until_the_work_is_done(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(progress, "_IN_A_LOG", (0, 0.001))
    seen = io.StringIO()
    monkeypatch.setattr("sys.stderr", seen)
    with progress.showing("outer"):
        with progress.showing("inner"):
            until(lambda: seen.getvalue().count("inner") > 1, "two looks within")
        until(lambda: seen.getvalue().endswith("outer: 00:00 so far\n"), "one after")
    assert progress._shown is None


def test_a_count_that_cannot_be_written_stops_no_work(tmp_path):
    pickle.loads(pickle.dumps(Done(tmp_path / "gone"))).add(1)


def test_half_a_line_shows_nothing(shown, tmp_path):
    with progress.counting(10, tmp_path) as done:
        (done.folder / "other-1").write_text("5")
        assert shown(at=60) == ""
