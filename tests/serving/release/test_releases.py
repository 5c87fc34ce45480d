"""Releases in steps: publish, canary, promote, rollback, while the model is asked."""

import argparse
import http.server
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import requests
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from until import until

from serving.__main__ import main
from serving.cli import check
from serving.client import Client
from serving.config.server import METRICS_PATH, ModelConfig, read_config_file
from serving.release import labels
from serving.release import steps as release_steps
from serving.release.publish import publish, same_model, versions
from serving.server import Server

_BODY = '{"signature_name": "add", "instances": [1]}'
_FAST = ("--drain-seconds", "0")


class Shop:
    """A base path and a config file, a server that follows them, and its callers."""

    def __init__(self, folder, models):
        self.base, self.file = folder / "toy", folder / "models.config"
        self.models, self.note = models, folder / ".models.config.rollback.toy"
        self.server, self.failed, self.asked = None, [], 0
        self._paths, self._stop, self._threads = [], threading.Event(), []

    def start(self, versions=1, **found):
        config = ModelConfig("toy", self.base, versions, found)
        labels.write(self.file, None, config)
        self.server = Server(
            read_config_file(self.file),
            poll_seconds=0.05,
            config_file=self.file,
            config_poll_seconds=0.05,
            allow_unavailable_labels=True,
        )

    def command(self, name, *words):
        """The words of a release command."""
        return [
            name, *words, "--model-config-file", str(self.file), "--model-name", "toy",
            *([] if name == "label" else ["--model-base-path", str(self.base)]),
        ]  # fmt: skip

    def run(self, name, *words):
        """Runs it, with the server to ask."""
        return main([*self.command(name, *words), "--url", self.server.url])

    def listed(self):
        found = labels.known(self.file, "toy")
        return found.versions, dict(found.labels)

    def version(self, label=None):
        """The version that answers."""
        with Client(self.server.url, "toy", version=label) as client:
            return int(client.metadata()["model_spec"]["version"])

    def call(self, path=""):
        """Has a caller ask 25 times a second from now on; "" is without a label."""

        def ask():
            url = f"{self.server.url}/v1/models/toy{path}:predict"
            with requests.Session() as session:
                while not self._stop.wait(0.04):
                    answer = session.post(url, _BODY, timeout=240)
                    self.asked += 1
                    if answer.status_code != 200:
                        self.failed.append((path, answer.status_code, answer.text))

        self._threads.append(threading.Thread(target=ask))
        self._threads[-1].start()

    def wait_for_calls(self):
        """Waits until the callers have asked some more."""
        wanted = self.asked + 5 * len(self._threads)
        until(lambda: self.asked >= wanted, "they are answered")

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.server:
            self.server.stop()


class _Add(tf.Module):
    """The least that loads quickly, as each test loads it several times."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def add(self, x):
        return {"y": x + 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Four models, each of which is another one."""
    folder = tmp_path_factory.mktemp("models")
    module = _Add()
    tf.saved_model.save(module, str(folder / "add"), signatures={"add": module.add})
    for number in range(1, 5):
        path = shutil.copytree(folder / "add", folder / str(number))
        proto = SavedModel.FromString((path / "saved_model.pb").read_bytes())
        proto.meta_graphs[0].meta_info_def.tensorflow_git_version = f"model {number}"
        (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    return [folder / str(number) for number in range(1, 5)]


@pytest.fixture
def shop(models, tmp_path):
    """A shop with version 1 on disk, not started yet."""
    publish(models[0], tmp_path / "toy")
    shop = Shop(tmp_path, models)
    yield shop
    shop.stop()


# What a team does, and what is served after each command: {label or None: version}.
_PLAY = [
    (["publish", 1, "--label", "canary"], {"stable": 1, "canary": 2, None: 2}),
    (["publish", 2, "--label", "canary"], {"stable": 1, "canary": 3, None: 3}),
    (["label", "stable=3"], {"stable": 3, "canary": 3, None: 3}),
    (["publish", 3, "--label", "canary"], {"stable": 3, "canary": 4, None: 4}),
    (["rollback"], {"stable": 3, "canary": 3, None: 3}),
    (["rollback"], {"stable": 2, "canary": 2, None: 2}),
]


def _words(shop, words):
    return [str(shop.models[w]) if isinstance(w, int) else w for w in words]


def test_a_release_and_its_rollback_under_load(shop, capsys):
    shop.start()
    shop.call()
    for words, expected in _PLAY:
        name, *others = _words(shop, words)
        drain = () if name == "rollback" else _FAST
        assert shop.run(name, *others, *drain) == 0, capsys.readouterr().err
        assert {label: shop.version(label) for label in expected} == expected
        assert f"without a label {expected[None]}" in capsys.readouterr().err
        if words == _PLAY[0][0]:
            shop.call("/labels/stable")
            shop.call("/labels/canary")
        shop.wait_for_calls()
    shop.stop()
    assert not shop.failed
    assert shop.listed() == ((2,), {"canary": 2, "stable": 2})


# Kills itself before or after the step of a number: what changes the config file, and
# what makes a version appear.
_KILLED = """
import os, signal, sys
from serving.release import labels, publish
from serving.__main__ import main
when, number = sys.argv[1], int(sys.argv[2])
count = 0
def watched(function):
    def step(*arguments):
        global count
        count += 1
        if when == "before" and count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*arguments)
        if when == "after" and count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return step
labels.replace = watched(labels.replace)
publish._rename = watched(publish._rename)
sys.exit(main(sys.argv[3:]))
"""


def test_a_command_that_was_killed_between_any_two_steps_is_finished_by_another_run(
    shop, capsys
):
    shop.start()
    shop.call()
    killed = 0
    for words, expected in _PLAY:
        name, *others = _words(shop, words)
        command = [*shop.command(name, *others), "--url", shop.server.url]
        command += () if name == "rollback" else _FAST
        before = shop.file.read_text(), versions(shop.base)
        if name == "rollback":  # the worst moment: all is done, and it does not know
            moments = [("before", 1), ("after", 1), ("after", 2), ("after", 3)]
        else:
            moments = [("after", 1), ("after", 2), ("before", 3), ("after", 3)]
        for when, number in moments[killed % 2 :: 2]:
            # Goes on from where the last one was killed.
            status = subprocess.run(
                [sys.executable, "-c", _KILLED, when, str(number), *command],
                stderr=subprocess.PIPE,
                check=False,
            ).returncode
            assert status in (0, -signal.SIGKILL)
            killed += status == -signal.SIGKILL
        assert (shop.file.read_text(), versions(shop.base)) != before
        if shop.note.exists() or name != "rollback":
            assert main(command) == 0, capsys.readouterr().err
        assert {label: shop.version(label) for label in expected} == expected
        if words == _PLAY[0][0]:
            shop.call("/labels/stable")
            shop.call("/labels/canary")
        shop.wait_for_calls()
    shop.stop()
    assert killed >= len(_PLAY) and not shop.failed
    assert shop.listed() == ((2,), {"canary": 2, "stable": 2})
    assert not shop.note.exists()


def _outcome(capsys, status):
    read = capsys.readouterr()
    return status, read.out.strip(), read.err


def test_a_version_that_does_not_load_leaves_the_file_as_it_was(shop, tmp_path, capsys):
    shop.start((1,), stable=1)
    broken = shutil.copytree(shop.models[1], tmp_path / "broken")
    (broken / "saved_model.pb").write_bytes(b"\x0a\xff")
    text = shop.file.read_text()
    for patience in ((), ("--wait-seconds", "1")):  # the state may be END at once
        status, _, errors = _outcome(
            capsys,
            shop.run("publish", str(broken), "--label", "canary", *patience),
        )
        assert status == 2 and "version 2 is in state END: " in errors
        assert shop.file.read_text() == text and "nothing has changed" in errors
        assert [*versions(shop.base)] == [1]  # nor is there anything to go back to
    assert shop.version() == shop.version("stable") == 1
    # It is left again where somebody listed it by hand.
    shutil.copytree(broken, shop.base / "2")
    before = labels.known(shop.file, "toy")
    listed = ModelConfig("toy", before.base_path, (1, 2), before.labels)
    labels.write(shop.file, before, listed)
    assert shop.run("rollback", "--to", "1") == 0
    assert shop.listed() == ((1,), {"stable": 1})


def test_a_server_that_does_not_follow_the_file_is_told_of(shop, tmp_path, capsys):
    shop.start((1,), stable=1)
    publish(shop.models[1], shop.base)
    with Server([ModelConfig("toy", shop.base, (1, 2))]) as elsewhere:
        words = ["--url", elsewhere.url, "--wait-seconds", "5", *_FAST]
        status, out, errors = _outcome(capsys, shop.run("label", "stable=2", *words))
    assert (status, out) == (2, "")
    assert "stable=2" in errors and "See the server's log, and that it reads" in errors


def test_without_a_server_only_the_next_step_is_written(shop, capsys):
    shop.start((1,), stable=1)
    publishing = shop.command("publish", str(shop.models[1]), "--label", "canary")
    for _ in range(2):  # running it again changes nothing
        status, out, errors = _outcome(capsys, main(publishing))
        assert (status, out) == (3, str(shop.base / "2"))
        assert shop.listed() == ((1, 2), {"stable": 1})
        assert f"serving label canary=2 --model-config-file {shop.file}" in errors
    then = errors.partition("python -m serving ")[2].partition("URL")[0].split()
    assert main([*then, shop.server.url]) == 0
    assert shop.listed() == ((1, 2), {"canary": 2, "stable": 1})

    # Whoever looks himself takes a step a time.
    steps = []
    promote = shop.command("label", "stable=2")
    while (status := main([*promote, "--unchecked"])) == 3:
        steps.append(shop.listed())
    assert status == 0 and steps == [((1, 2), {"canary": 2, "stable": 2})]
    assert shop.listed() == ((2,), {"canary": 2, "stable": 2})

    steps = []
    back = shop.command("rollback")
    assert main(back) == 3
    while (status := main([*back, "--unchecked"])) == 3:
        steps.append(shop.listed())
    assert status == 0
    assert steps == [((1, 2), {"canary": 1, "stable": 1})]
    assert shop.listed() == ((1,), {"canary": 1, "stable": 1})
    assert not shop.note.exists()


def test_a_model_of_the_newest_version_is_pinned_before_its_first_canary(shop, capsys):
    shop.start()
    publishing = shop.command("publish", str(shop.models[1]), "--label", "canary")
    status, out, errors = _outcome(capsys, main(publishing))
    assert (status, out) == (3, "") and "Nothing is published yet" in errors
    assert shop.listed() == ((1,), {"stable": 1}) and [*versions(shop.base)] == [1]
    assert "version 1, which is served, gets the label stable" in errors
    assert "callers without a label get the newest version" in errors
    assert main([*publishing, "--url", shop.server.url]) == 0
    assert shop.listed() == ((1, 2), {"canary": 2, "stable": 1})


def test_what_somebody_else_changed_meanwhile_is_left(shop, monkeypatch, capsys):
    shop.start((1,), stable=1)
    publish(shop.models[1], shop.base)
    write = labels.write

    def rolled_back_in_between(file, before, after):
        write(file, before, after)
        monkeypatch.setattr(labels, "write", write)
        assert main([*shop.command("rollback", "--to", "1"), "--unchecked"]) == 0
        text.append(shop.file.read_text())

    text = []
    monkeypatch.setattr(labels, "write", rolled_back_in_between)
    assert shop.run("label", "stable=2") == 2
    assert "was changed by somebody else meanwhile" in capsys.readouterr().err
    assert [shop.file.read_text()] == text


def test_labels_go_and_the_newest_version_stays(shop):
    shop.start((1,))
    for model in shop.models[1:3]:
        publish(model, shop.base)
    assert shop.run("label", "canary=3", *_FAST) == 0
    assert shop.listed() == ((1, 3), {"canary": 3, "stable": 1})
    assert shop.run("label", "canary=", "old=2", *_FAST) == 0
    # 3 has no label any more, and whoever asks without one must not get an older one.
    assert shop.listed() == ((1, 2, 3), {"old": 2, "stable": 1})
    assert shop.version() == 3
    assert shop.run("publish", str(shop.models[3]), "--keep", "1", *_FAST) == 0
    assert shop.listed() == ((1, 2, 4), {"old": 2, "stable": 1})
    assert [*versions(shop.base)] == [1, 2, 4]  # what is listed is never pruned


def test_the_same_model_is_not_published_twice(shop):
    shop.start((1,), stable=1)
    for _ in range(2):
        assert shop.run("publish", str(shop.models[1]), "--label", "canary") == 0
    assert [*versions(shop.base)] == [1, 2]


def test_a_rollback_does_not_go_to_what_was_rolled_back(shop, capsys):
    shop.start((1,), stable=1)
    for number in (1, 2):
        words = ["publish", str(shop.models[number]), "--label", "stable", *_FAST]
        assert shop.run(*words) == 0
        if number == 1:
            assert shop.run("rollback") == 0
            assert shop.listed() == ((1,), {"stable": 1})
    assert shop.listed() == ((3,), {"stable": 3})
    assert shop.run("rollback") == 0  # not to version 2
    assert shop.listed() == ((1,), {"stable": 1})
    assert shop.run("rollback") == 2
    assert "no older version of 'toy' to go back to" in capsys.readouterr().err
    assert shop.run("rollback", "--to", "7") == 2
    assert "the base path has [1, 2, 3]" in capsys.readouterr().err


def test_version_folders_with_zeros(shop, capsys):
    shutil.move(shop.base / "1", shop.base / "0001")
    shutil.copytree(shop.models[1], shop.base / "0002")
    shop.start((1,), stable=1)
    assert shop.run("label", "stable=2", *_FAST) == 0
    assert shop.version() == 2
    assert shop.run("rollback") == 0 and shop.version("stable") == 1
    words = ["publish", str(shop.models[2]), "--keep", "1", "--label", "stable"]
    assert shop.run(*words, *_FAST) == 0 and shop.version("stable") == 3
    assert sorted(path.name for path in shop.base.glob("0*")) == []
    assert [*versions(shop.base)] == [3]


def test_without_a_config_file_the_newest_version_counts(shop, capsys):
    server = Server([ModelConfig("toy", shop.base)], poll_seconds=0.05)
    with server:
        where = ["--model-base-path", str(shop.base)]
        asked = [*where, "--url", server.url, "--model-name", "toy"]
        assert main(["publish", str(shop.models[1]), *asked]) == 0
        assert "without a label 2" in capsys.readouterr().err
        assert main(["rollback", *asked]) == 0
        assert capsys.readouterr().out.strip() == str(shop.base / "3")


def test_a_command_takes_the_file_to_the_servers(shop, tmp_path, capsys):
    shop.start((1,), stable=1)
    source = tmp_path / "repository.config"
    shutil.copy(shop.file, source)
    script = tmp_path / "apply.sh"
    script.write_text(f"cp {source} {shop.file}.new && mv {shop.file}.new {shop.file}")
    words = ["publish", str(shop.models[1]), "--model-base-path", str(shop.base)]
    words += ["--model-config-file", str(source), "--model-name", "toy"]
    words += ["--label", "canary", "--url", shop.server.url]
    assert main([*words, "--after-write", f"sh {script}"]) == 0
    assert source.read_text() == shop.file.read_text()
    words[1] = str(shop.models[2])
    assert main([*words, "--after-write", "false"]) == 2
    assert "--after-write failed with status 1" in capsys.readouterr().err


def test_mistakes_of_the_caller_are_one_line(shop, capsys):
    shop.start()
    for words, message in (
        (["publish", str(shop.models[1]), "--model-base-path", str(shop.base),
          "--label", "x"], "give --model-config-file too"),
        (shop.command("label", "stable"), "LABEL=VERSION"),
        (shop.command("label", "stable=²"), "LABEL=VERSION"),
        (["rollback"], "Give --model-config-file or"),
        (["label", "a=1", "--model-config-file", str(shop.file), "--model-name", "no"],
         "has no model 'no'. It has: ['toy']"),
    ):  # fmt: skip
        status, out, errors = _outcome(capsys, main(words))
        assert (status, out) == (2, "") and message in errors
        assert len(errors.splitlines()) == 1


def test_check_tells_whether_the_file_is_served(shop, capsys):
    shop.start((1,), stable=1)
    words = ["--model-config-file", str(shop.file), "--model-name", "toy"]
    words += ["--url", shop.server.url]
    assert main(["check", *words]) == 0
    assert "serves what the file asks for" in capsys.readouterr().out
    args = argparse.Namespace(
        model_config_file=shop.file, model_name="toy", url=[shop.server.url],
        host="127.0.0.1", port=0,
    )  # fmt: skip
    before = labels.known(shop.file, "toy")
    with check.make_server(args) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}{METRICS_PATH}"
        found = []
        for versions_, stable in (((1,), 1), ((2,), 2)):  # the second one is refused
            after = ModelConfig("toy", before.base_path, versions_, {"stable": stable})
            labels.write(shop.file, labels.known(shop.file, "toy"), after)
            found.append(requests.get(url, timeout=240).text.splitlines()[-1])
        assert requests.get(url + "x", timeout=240).status_code == 404
        server.shutdown()
    name = f'{check.METRIC}{{model_name="toy",server="{shop.server.url}"}}'
    assert found == [f"{name} 1", f"{name} 0"]
    assert main(["check", *words]) == 2
    assert "serves version 1; stable=1; without a label 1; asked for are version 2" in (
        capsys.readouterr().out
    )
    words[-1] = "http://127.0.0.1:1"
    assert main(["check", *words]) == 2
    assert "cannot be reached" in capsys.readouterr().out


def _write(shop, versions_, **found):
    """Has the file say something else, as somebody by hand does."""
    before = labels.known(shop.file, "toy")
    labels.write(
        shop.file, before, ModelConfig("toy", before.base_path, versions_, found)
    )


def _break(shop, number):
    (shop.base / str(number) / "saved_model.pb").write_bytes(b"\x0a\xff")


@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_served_counts_and_not_what_is_newest_on_disk(shop, capsys, labelled):
    """A newest version that does not load is neither labelled nor listed."""
    publish(shop.models[1], shop.base)
    _break(shop, 2)
    shop.start(1)
    words = ["--label", "canary"] if labelled else []
    assert shop.run("publish", str(shop.models[2]), *words, *_FAST) == 0
    errors = capsys.readouterr().err
    if labelled:
        assert "version 1, which is served, gets the label stable" in errors
        assert shop.listed() == ((1, 3), {"canary": 3, "stable": 1})
    else:
        assert shop.listed() == ((3,), {})


def test_a_broken_model_of_the_newest_version_leaves_the_one_that_is_served(
    shop, tmp_path
):
    shop.start(1)
    broken = shutil.copytree(shop.models[1], tmp_path / "broken")
    (broken / "saved_model.pb").write_bytes(b"\x0a\xff")
    for _ in range(4):
        words = ["publish", str(broken), "--keep", "1", "--wait-seconds", "2"]
        assert shop.run(*words) == 2
        assert shop.listed() == (1, {}) and [*versions(shop.base)] == [1]
        assert shop.version() == 1


def test_labels_of_a_model_of_the_newest_versions_lead_somewhere_all_the_time(shop):
    publish(shop.models[1], shop.base)
    shop.start(2, stable=1)
    shop.call("/labels/stable")
    assert shop.run("publish", str(shop.models[2]), *_FAST) == 0
    assert shop.listed() == ((1, 3), {"stable": 1})
    shop.wait_for_calls()
    shop.stop()
    assert not shop.failed


def test_a_file_that_servers_refuse_is_mended_first(shop, capsys):
    publish(shop.models[1], shop.base)
    shop.start((2,), stable=2)
    _write(shop, (1,), stable=1)  # refused for ever
    assert shop.run("rollback", "--to", "1") == 0
    assert "label stable=1: no server has that version, and all serve 2" in (
        capsys.readouterr().err
    )
    assert shop.listed() == ((1,), {"stable": 1}) and shop.version("stable") == 1


def test_a_label_that_leads_nowhere_holds_nothing_up(shop, capsys):
    shop.start((1, 7), stable=1, old=7)
    assert shop.run("publish", str(shop.models[1]), "--label", "canary", *_FAST) == 0
    assert "label old=7 leads nowhere" in capsys.readouterr().err
    assert shop.listed() == ((1, 2), {"canary": 2, "stable": 1})


def test_a_version_that_comes_back_may_be_gone_back_to(shop):
    shop.start((1,), stable=1)
    assert shop.run("publish", str(shop.models[1]), "--label", "stable", *_FAST) == 0
    assert shop.run("rollback") == 0
    words = ["stable=2", "--model-base-path", str(shop.base), *_FAST]
    assert shop.run("label", *words) == 0
    assert shop.run("publish", str(shop.models[2]), "--label", "stable", *_FAST) == 0
    assert shop.run("rollback") == 0
    assert shop.listed() == ((2,), {"stable": 2})


def test_a_rollback_that_failed_is_none(shop, capsys):
    for model in shop.models[1:3]:
        publish(model, shop.base)
    _break(shop, 2)
    shop.start((3,), stable=3)
    assert shop.run("rollback") == 2
    errors = capsys.readouterr().err
    assert "version 3; stable=3 as before; nothing has changed" in errors
    assert "The version before it: rollback --to 1" in errors
    assert shop.listed() == ((3,), {"stable": 3})
    assert not shop.note.exists() and not (shop.base / ".rolled-back").exists()
    assert shop.run("rollback", "--to", "1") == 0
    assert shop.listed() == ((1,), {"stable": 1})


def test_a_file_that_was_not_taken_to_the_servers_is_at_the_next_run(
    shop, tmp_path, capsys
):
    shop.start((1,), stable=1)
    source, script = tmp_path / "repository.config", tmp_path / "apply.sh"
    shutil.copy(shop.file, source)
    words = ["publish", str(shop.models[1]), "--model-base-path", str(shop.base)]
    words += ["--model-config-file", str(source), "--model-name", "toy"]
    words += ["--label", "canary", "--url", shop.server.url]
    words += ["--after-write", f"sh {script}"]
    text = source.read_text()
    for broken in ("sh: 'no end", "no-such-command"):
        assert main([*words[:-1], broken]) == 2
        assert "--after-write failed with" in capsys.readouterr().err
        assert source.read_text() == text  # it is tried before anything is written
    apply = f"cp {source} {shop.file}.new && mv {shop.file}.new {shop.file}"
    marks = [(tmp_path / "once", 0), (tmp_path / "twice", 1)]
    lines = [f"test -e {m} || {{ touch {m}; exit {status}; }}" for m, status in marks]
    script.write_text("\n".join([*lines, apply]))
    assert main(words) == 2  # the first step is written and not applied
    assert source.read_text() != text
    assert main(words) == 0
    assert source.read_text() == shop.file.read_text()


def test_versions_listed_by_hand_serve_on_for_a_while(shop):
    for model in shop.models[1:3]:
        publish(model, shop.base)
    shop.start((1, 2, 3), stable=3)
    shop.call("/versions/1")
    slept = []

    sleep = time.sleep

    def drain(seconds):
        if seconds < 5:
            return sleep(seconds)
        slept.append((seconds, shop.version(1), len(shop.failed)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release_steps.time, "sleep", drain)
        words = ["--label", "canary", "--drain-seconds", "5"]
        assert shop.run("publish", str(shop.models[3]), *words) == 0
    assert (5.0, 1, 0) in slept
    assert shop.listed() == ((3, 4), {"canary": 4, "stable": 3})


def test_versions_of_another_model_of_the_base_path_are_not_pruned(shop):
    shop.start((1,), stable=1)
    labels.write(shop.file, None, ModelConfig("old", shop.base, (1,)))
    for model in shop.models[1:3]:
        words = ["publish", str(model), "--label", "stable", "--keep", "1", *_FAST]
        assert shop.run(*words) == 0
    assert [*versions(shop.base)] == [1, 3]


def test_two_who_do_the_same_are_one(shop):
    shop.start((1,), stable=1)
    publish(shop.models[1], shop.base)
    words = [*shop.command("label", "stable=2"), "--url", shop.server.url, *_FAST]
    statuses = []
    threads = [
        threading.Thread(target=lambda: statuses.append(main(words))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0, 0, 0] and shop.listed() == ((2,), {"stable": 2})


def test_what_is_no_server_of_models_is_told(shop, capsys):
    shop.start((1,), stable=1)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever).start()
        url = f"http://127.0.0.1:{other.server_port}"
        words = ["--model-config-file", str(shop.file), "--model-name", "toy"]
        assert main(["check", *words, "--url", url]) == 2
        other.shutdown()
    assert "does not answer as TF Serving does" in capsys.readouterr().out


def test_a_link_to_the_file_stays_one(shop, tmp_path):
    shop.start((1,), stable=1)
    publish(shop.models[1], shop.base)
    link = tmp_path / "link" / "models.config"
    link.parent.mkdir()
    link.symlink_to(shop.file)
    words = ["label", "stable=2", "--model-config-file", str(link), *_FAST]
    assert main([*words, "--model-name", "toy", "--url", shop.server.url]) == 0
    assert link.is_symlink() and shop.listed() == ((2,), {"stable": 2})


def test_a_rollback_of_a_base_path_that_nobody_has_seen_goes_no_further(shop, capsys):
    for model in shop.models[1:3]:
        publish(model, shop.base)
    back = ["rollback", "--model-base-path", str(shop.base), "--model-name", "toy"]
    assert main([*back, "--url", "http://127.0.0.1:1", "--wait-seconds", "0"]) == 2
    assert "is it gone, omit its --url" in capsys.readouterr().err
    with Server([ModelConfig("toy", shop.base)]) as server:
        assert main([*back, "--url", server.url]) == 0
    assert capsys.readouterr().out.strip() == str(shop.base / "4")
    assert [*versions(shop.base)] == [1, 2, 3, 4]
    assert same_model(shop.base / "4", shop.base / "2")
