"""Every fault of a config is named with its place and the nearest known name."""

import pytest
from paths import ROOT

from pipeline import config
from pipeline.artifacts import layout
from pipeline.components.trainer import component
from pipeline.run import run
from pipeline.workspace.metadata import Metadata

FEED = ROOT / "configs" / "feed.yaml"


@pytest.mark.parametrize(
    "path", sorted(FEED.parent.glob("*.yaml")), ids=lambda p: p.name
)
def test_every_config_of_ours_is_valid(path, monkeypatch):
    monkeypatch.setenv("DATA", "data")
    loaded = config.load(path)
    # As it goes to other processes.
    dumped = loaded.model_dump_json()
    assert config.Config.model_validate_json(dumped) == loaded
    assert loaded.name == path.stem
    assert loaded.workspace and loaded.push.destination


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trane.epochs=3", "trane: unknown key. Did you mean 'train'?"),
        ("features.user_id.vocab=3", "features.0.vocab: unknown key. Did you mean"),
        (
            "features.tab={name: tab}",
            "features.13.kind: must be one of categorical, numeric, sequence, ",
        ),
        (
            "features.tab={name: tab, kind: crossed, of: [tba, hour], hash_buckets: 9}",
            "features.13.of: it must name categorical features, or numeric ones with",
        ),
        (
            "features.position={name: position, kind: lookup, key: duration}",
            "must name a categorical feature. Received: 'duration'",
        ),
        (
            "features.position={name: position, kind: multivalued, weights: w, "
            "pooling: max}",
            "weights need a pooling by mean, sum or sqrtn, not max",
        ),
        (
            "features.position={name: position, kind: numeric, bucketing: log}",
            "`bucketing` needs `buckets`",
        ),
        ("features.tab.kind=categoric", "Received: 'categoric'. Did you mean 'categor"),
        ("train.learning-rate=1", "train.learning-rate: unknown key. Did you mean 'le"),
        ("evaluate.minimum={long-view: x}", "evaluate.minimum.long-view: Input should"),
        ("export.numeric=1", "export.numeric: unknown key."),
        ("model.architectur=ple", "model.architectur: unknown key. Did you mean 'arch"),
        ("export.user_features=[user]", "export.user_features: no feature 'user'."),
        ("export.rank_outputs=[scor]", "no output 'scor'. Did you mean 'score'?"),
        (
            "export.fused_score.weights={clik: 1}",
            "no task 'clik'. Did you mean 'click'",
        ),
        ("export.fused_score.form=mean", "export.fused_score.form: Input should be"),
        ("tasks.like.name=score", "export.fused_score: it is the output 'score'"),
        (
            "data.missing=['NA','-999']",
            "data.missing: a number or a boolean is no missing",
        ),
        ("data.missing=['True']", "no missing word. Received: ['True']"),
        ("data.verbatim=[usr_id]", "the config names no column 'usr_id'. Did you mean"),
        ("push.labels=[canary]", "push: `labels` go with a file; give `models_config"),
        ("tasks.click.kind=foo", "tasks.0.kind: Input should be 'binary', 'regress"),
        ("tasks.click.label=''", "tasks.0.label: String should have at least 1"),
        *(
            (f"{key}=''", f"{path}: String should have at least 1")
            for key, path in {
                "tasks.like.space": "tasks.2.space",
                "evaluate.group": "evaluate.group",
                "evaluate.slices.0": "evaluate.slices.0",
                "evaluate.best_reachable.click": "evaluate.best_reachable.click",
                "domain": "domain",
            }.items()
        ),
        ("tasks.click.name=a b", "beside it, `label` is any column of the logs"),
        (
            "features.tab.name=class",
            "features.13.name: TensorFlow cannot serve an input called self or like a "
            "Python keyword. Received: 'class'; write name: class_, and column: class",
        ),
        ("features.tab.name=self", "Received: 'self'; write name: self_, and column:"),
        ("tasks.like.name=click", "tasks.2.name: 'click' is already taken"),
        ("tasks.click.row_weight=duration", "tasks.0.row_weight: 'duration' is a feat"),
        ("tasks.click.calibration=plat", "tasks.0.calibration: Input should be 'scale"),
        (
            "tasks.click.outside=2",
            "tasks.0.outside: Input should be less than or",
        ),
        ("tasks.click.label=duration", "'duration' is the label or the sample space"),
        ("features.tab.num_hashes=2", "`num_hashes` needs a table by `hash_buckets`"),
        ("features.tab.min_score=3", "`min_score` needs a table by `capacity`"),
        (
            "features.tab={name: tab, kind: categorical, capacity: 9, oov_buckets: 1}",
            "`oov_buckets` needs a table by `vocabulary`",
        ),
        (
            "features.tab={name: tab, kind: categorical, capacity: 9, hash_buckets: 9}",
            "give one of `hash_buckets` and `capacity`, not both",
        ),
        (
            "features.duration={name: duration, kind: numeric, buckets: 9, "
            "piecewise_linear: 9}",
            "give one of `buckets` and `piecewise_linear`, not both",
        ),
        ("features.tab.table=user_id", "'tab' and 'user_id', which differ"),
        ("train.epochs=0", "train.epochs: Input should be greater than or equal to 1"),
        ("train.epochs=[]", "Received: []"),
        ("data.split.train=0.95", "`train` + `valid` must be below 1"),
        ("data.split={by: time}", "a split by 'time' needs `column`"),
        ("data.logs=['x.csv']", "exactly one of `source` and `logs` must be given"),
        (
            "data.labels={duration: a > 1}",
            "'duration' is the label or the sample space",
        ),
        ("data.labels={x: a >}", "data.labels.x: 'a >' is not an expression: invalid"),
        ("data.labls={}", "data.labls: unknown key. Did you mean 'labels'?"),
        (
            "data.actions=[{nam: x}]",
            "data.actions.0.nam: unknown key. Did you mean 'na",
        ),
        (
            "data.tables=[{name: x, logs: y, key: [{a: b}]}]",
            "data.tables.0.key: must be keys and values. Received: [{",
        ),
        ("data.time_unit=min", "data.time_unit: Input should be 's', 'ms', 'us' or"),
        ("data.delimiter='::'", "data.delimiter: one ASCII character is needed"),
        ("data.delimiter='\\n'", "data.delimiter: one ASCII character is needed"),
        ("data.logs=[]", "data.logs: List should have at least 1 item"),
        ("workspace=gs:///", "workspace: must be such as s3://bucket/folder. Rec"),
        (
            "push={destination: gs://bucket/models, models_config: models.config}",
            "push.models_config: is written for a model base path that is a folder",
        ),
        ("data.columns=[a, a]", "data.columns: each column needs a name of its own"),
        ("push=here", "push: must be keys and values. Received: 'here'"),
        ("tasks=[click]", "tasks.0: must be keys and values, as {name: click}. Rec"),
        ("evaluate.grup=user_id", "evaluate.grup: unknown key. Did you mean 'group'?"),
        (
            "evaluate.rules=[{metric: spearman, tasks: [click], at_least: 0}]",
            "evaluate.rules.0.metric: 'click' has no spearman: it is binary",
        ),
        (
            "evaluate.rules=[{metric: auc, at_least: 0.9, at_most: 0.1}]",
            "`at_least` must not be above `at_most`, or no model is blessed. "
            "Received: 0.9 and 0.1",
        ),
        (
            "evaluate={rules: [{metric: gauc, at_least: 0.5}]}",
            "evaluate.rules.0.metric: gauc is by group; give `evaluate.group`, too",
        ),
        ("evaluate.slices=[all]", "evaluate.slices: the slice of all rows is called"),
        (
            "evaluate={metrics: [mrr]}",
            "evaluate.metrics.0: mrr is by group; give `evaluate.group`, too",
        ),
        (
            "evaluate={group: user_id, rules: [{metric: ndcg@5, at_least: 0.5}]}",
            "evaluate.rules.0.metric: add ndcg@5 to `evaluate.metrics`",
        ),
        ("evaluate={metrics: [ndcg]}", "evaluate.metrics.0: it must be pr_auc, uauc"),
        (
            "train={shard_input: true, batch_size: 5, workers: 2}",
            "`workers` must divide `batch_size`. Received: 2 and 5",
        ),
        (
            "train={checkpoint: {minutes: 5}, workers: 2}",
            "`checkpoint.minutes` is for one worker",
        ),
        ("train.checkpoint={}", "train.checkpoint: give `steps` or `minutes`"),
        ("evaluate.minimum={clik: 1}", "no such task. Did you mean 'click'?"),
        ("features.clock.kind=numeric", "--set features.clock.kind: no item 'clock'"),
        ("features.0.name.x=1", "'x' is below a value"),
        ("epochs", "expected path.to.key=value. Received: 'epochs'"),
        ("train.epochs={", "not valid YAML"),
    ],
)
def test_faults_are_explained(override, expected):
    with pytest.raises(config.ConfigError) as error:
        config.load(FEED, [override])
    assert expected in str(error.value)


def test_a_place_in_a_store_is_written_down_the_same_on_all_machines(monkeypatch):
    overrides = ["workspace=s3://bucket/feed", "evaluate.baseline=gs://bucket/other"]
    overrides.append("push=null")
    found = []
    for mirror in ("/a", "/b"):
        monkeypatch.setenv("TFMTL_MIRROR", mirror)
        read = config.load(FEED, overrides)
        found.append(read.model_dump())
        assert config.Config.model_validate(found[-1]) == read
    assert found[0] == found[1]
    assert found[0]["workspace"] == "s3://bucket/feed"
    assert found[0]["push"]["destination"] == "s3://bucket/feed/serving_models/feed"
    assert found[0]["evaluate"]["baseline"] == "gs://bucket/other"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["tasks.click.loss=mse"], "tasks.0: loss of binary task 'click' must be one"),
        (["tasks.click.loss=bcd"], "'bcd'. Did you mean 'bce'?"),
        (["tasks.click.loss={name: focal, gama: 1}"], "argument of the loss 'focal'"),
        (
            ["tasks.click.loss=[bce, {name: pairwise, group: duration}]"],
            "tasks: A loss of task 'click' must group rows by a Categorical among",
        ),
        (["tasks.long_view.space=long_view"], "tasks.1: Task 'long_view' cannot be it"),
        (
            ["tasks.click.space=watch_seconds"],
            "tasks: The sample space of task 'click'",
        ),
        (
            ["tasks.click.space=like", "tasks.like.space=click"],
            "click -> like -> click",
        ),
        (
            ["features.watched.of=video"],
            "Received: of='video'. Did you mean 'video_id'?",
        ),
        (
            ["features.watched.target=tab"],
            "features.5: target of 'watched' needs an encoder",
        ),
        (
            [
                "features.watched.pooling=target_attention",
                "features.watched.target=vid",
            ],
            "features: target of 'watched' must be a Categorical among the features.",
        ),
        (["domain=tap"], "domain: domain must be the name of a Categorical"),
    ],
)
def test_the_rules_of_the_library_are_told_before_any_stage(
    overrides, expected, tmp_path
):
    loaded = config.load(FEED, [*overrides, f"workspace={tmp_path}"])
    with pytest.raises(config.ConfigError) as error:
        run(loaded, until="ExampleGen")
    assert expected in str(error.value)
    assert not Metadata(tmp_path / layout.METADATA).executions()


def test_what_a_config_says_of_itself_is_a_config():
    """As workers of a training are given it."""
    feed = config.load(FEED, ["features.tab.hash_buckets=9"])
    assert config.Config(**feed.model_dump()) == feed


def test_all_faults_are_told_at_once():
    with pytest.raises(config.ConfigError) as error:
        config.load(FEED, ["train.epochs=0", "train.batch_size=0", "pusch=1"])
    assert len(str(error.value).splitlines()) == 3


def test_models_go_to_the_workspace_where_nothing_else_is_said():
    for override in ("push=null", "push={}", "push={keep: 2}"):
        loaded = config.load(FEED, [override, "workspace=/some/where"])
        assert loaded.push.destination == "/some/where/serving_models/feed"
    assert loaded.push.keep == 2


def test_overrides_reach_sections_lists_and_new_keys():
    loaded = config.load(
        FEED,
        [
            "train.epochs=7",
            "features.user_id.embedding_dim=4",
            "features.1.embedding_dim=5",
            "beam.flags=['--direct_num_workers=2']",
            "tasks.watch_seconds.tower=[32, 16]",
        ],
    )
    assert loaded.train.epochs == 7
    assert [f.embedding_dim for f in loaded.features[:2]] == [4, 5]
    assert loaded.beam.flags == ["--direct_num_workers=2"]
    assert loaded.tasks[-1].tower == [32, 16]


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", ""])
def test_a_file_that_is_no_mapping(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=str(path)):
        config.load(path)


def test_a_log_in_place_of_a_config_is_not_shown(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,click\n" + "secret,1\n" * 500)
    with pytest.raises(config.ConfigError, match="pipeline init` writes") as raised:
        config.load(path)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(config.ConfigError, match="No such file"):
        config.load(tmp_path / "none.yaml")


def test_one_pattern_of_logs_needs_no_list():
    loaded = config.load(FEED, ["data.source=null", "data.logs=logs/*.csv"])
    assert loaded.data.logs == ["logs/*.csv"]


def test_a_union_is_explained_by_its_yaml_path():
    with pytest.raises(config.ConfigError) as error:
        config.load(FEED, ["evaluate.max_drop=much"])
    for line in str(error.value).splitlines():
        assert line.startswith(f"{FEED}: evaluate.max_drop: ")


def test_a_file_in_another_encoding(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: caf\xe9".encode("latin-1"))
    message = "not valid YAML in UTF-8: .*`python -m pipeline init` writes a config"
    with pytest.raises(config.ConfigError, match=message):
        config.load(path)


def test_what_the_library_refuses_is_told_before_any_work():
    def refused(match, *overrides):
        with pytest.raises(config.ConfigError, match=match):
            component.check(config.load(FEED, overrides))

    refused(
        "^tasks.0: calibration of binary task 'click' must be one of 'none', 'platt'",
        "tasks.click.calibration=scale",
    )
    refused(
        "calibration_by of task 'watch_seconds' .*'tabb'. Did you mean 'tab'",
        "tasks.watch_seconds.calibration_by=tabb",
    )
    refused(
        "given in train.optimizer too",
        "train.optimizer={name: lazy_adam, learning_rate: 0.1}",
    )
    refused("^train.optimizer: .*Did you mean 'lazy_adam'", "train.optimizer=lazyadam")
    refused(
        "^train.loss_weighting: .*clik",
        "train.loss_weighting={name: metabalance, target: clik}",
    )
    refused("^train.loss_weighting: .*Did you mean 'dwa'", "train.loss_weighting=dwaa")


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(FEED.read_text() + "\ntasks:\n  - {name: click}\n")
    with pytest.raises(config.ConfigError, match="the key 'tasks' is given twice"):
        config.load(path)
