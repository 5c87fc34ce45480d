"""A changed model config file is taken, or refused, as TF Serving does."""

import logging
import threading

import pytest

from serving.config.server import ModelConfig
from serving.errors import ServingError
from serving.models.manager import ServedModels, StartError
from serving.models.model import Model
from serving.release.publish import publish

_REFUSED = "Request to assign label to version {} of model toy, which is not currently"


@pytest.fixture
def base(saved_models, tmp_path):
    """A base path with versions 1 and 2."""
    for name in ("one", "two"):
        publish(saved_models / name, tmp_path / "toy")
    return tmp_path / "toy"


@pytest.fixture
def serve(base):
    """Serves versions and labels, the labels also of versions that are not there."""
    started = []

    def serve(versions, labels=None, allow=True):
        config = ModelConfig("toy", base, versions, labels or {})
        started.append(ServedModels([config], Model, allow))
        return started[-1]

    yield serve
    for models in started:
        models.close()


@pytest.fixture
def reload(base):
    """Gives the toy model other versions and labels."""

    def reload(models, versions, **labels):
        models.reload([ModelConfig("toy", base, versions, labels)])

    return reload


def _answers(models, **asked):
    with models.acquire("toy", **asked) as (version, _):
        return version


def test_a_label_does_not_move_to_a_version_that_is_unloaded(serve, reload):
    models = serve((2,), {"stable": 2})
    for _ in range(2):
        with pytest.raises(ServingError, match=_REFUSED.format(1)):
            reload(models, (1,), stable=1)
        assert models["toy"].available() == [2]
        assert _answers(models, label="stable") == 2


def test_it_moves_in_two_steps(serve, reload):
    models = serve((2,), {"stable": 2})
    reload(models, (1, 2), stable=2)
    assert models["toy"].available() == [2, 1] and _answers(models, label="stable") == 2
    reload(models, (1,), stable=1)
    assert models["toy"].available() == [1] and _answers(models, label="stable") == 1


def test_a_label_in_use_does_not_move_to_a_version_that_comes_with_it(
    serve, reload, saved_models, base
):
    models = serve((1, 2), {"stable": 1, "canary": 2})
    publish(saved_models / "one", base)
    with pytest.raises(ServingError, match=_REFUSED.format(3)):
        reload(models, (1, 3), stable=1, canary=3)
    assert models["toy"].available() == [2, 1]
    assert _answers(models, label="canary") == 2


def test_a_label_that_is_not_in_use_may_come_with_its_version(serve, reload):
    models = serve((1,))
    reload(models, (2,), canary=2)  # all unlabelled traffic goes to the canary
    assert models["toy"].available() == [2] and _answers(models) == 2
    reload(models, (2,), canary=2, gone=9)
    with pytest.raises(ServingError, match=r"Specific\(toy, 9\)"):
        _answers(models, label="gone")


def test_without_the_flag_no_label_comes_before_its_version(serve, reload):
    with pytest.raises(StartError, match="not currently available.*at the start, no"):
        serve((1,), {"stable": 1}, allow=False)
    models = serve((1,), allow=False)
    with pytest.raises(ServingError, match=_REFUSED.format(2)):
        reload(models, (1, 2), canary=2)
    reload(models, (1, 2))
    reload(models, (1, 2), canary=2)
    assert _answers(models, label="canary") == 2


def test_versions_that_are_not_there_leave_none(serve, reload):
    models = serve((1,))
    reload(models, (9,))
    assert models["toy"].available() == []


def test_what_is_refused_is_tried_again_at_every_poll(serve, base, tmp_path, caplog):
    models, stopping = serve((2,), {"stable": 2}), threading.Event()
    file = tmp_path / "models.config"

    def write(versions, stable):
        listed = " ".join(f"versions: {version}" for version in versions)
        new = file.with_suffix(".new")
        new.write_text(
            f'model_config_list {{ config {{ name: "toy" base_path: "{base}" '
            'model_platform: "tensorflow" '
            f"model_version_policy {{ specific {{ {listed} }} }} "
            f'version_labels {{ key: "stable" value: {stable} }} }} }}'
        )
        new.replace(file)

    write([1], 1)
    following = threading.Thread(target=models.follow, args=(file, 0.01, stopping))
    with caplog.at_level(logging.ERROR, "serving"):
        following.start()
        while caplog.text.count(_REFUSED.format(1)) < 3:
            assert following.is_alive()
        assert models["toy"].available() == [2]
        write([1, 2], 2)
        while models["toy"].available() != [2, 1]:
            assert following.is_alive()
        write([1], 1)
        while models["toy"].available() != [1]:
            assert following.is_alive()
        stopping.set()
        following.join()
