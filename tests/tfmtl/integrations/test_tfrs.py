import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

needs_tfrs = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_recommenders") is None,
    reason="tensorflow-recommenders is not installed",
)


def _run_cases(which):
    """Runs them in a process of its own, in which `tf.keras` is Keras 2."""
    options = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", which]
    file = Path(__file__).with_name("tfrs_cases.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(file)],
        cwd=ROOT,
        env={
            **os.environ,
            "TF_USE_LEGACY_KERAS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout and " skipped" not in done.stdout, done.stdout


@needs_tfrs
def test_the_bridge():
    _run_cases("not slow")


@pytest.mark.slow
@needs_tfrs
def test_the_bridge_with_every_architecture():
    _run_cases("slow")


@needs_tfrs
def test_without_the_variable_the_import_says_so():
    # This process is one in which `tf.keras` is Keras 3.
    with pytest.raises(ImportError, match="TF_USE_LEGACY_KERAS=1 in the environment"):
        importlib.import_module("tfmtl.integrations.tfrs")


@pytest.mark.parametrize("package", ["tensorflow_recommenders", "tf_keras"])
def test_without_the_packages_the_import_names_the_extra(package, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == package else find_spec(name, *rest),
    )
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tfmtl\[tfrs\]'"):
        importlib.import_module("tfmtl.integrations.tfrs")
