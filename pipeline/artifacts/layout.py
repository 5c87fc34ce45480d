"""The names of the files and folders in artifacts: here, and nowhere else.

| artifact             |                                                            |
|----------------------|------------------------------------------------------------|
| examples             | Split-*/data-*.parquet, dead_letter/*.jsonl, summary.json  |
| statistics           | Split-*/FeatureStats.pb, moments.json, label_rates.json,   |
|                      | label_correlations.json, vocabulary/COLUMN/*.parquet       |
| schema               | schema.pbtxt                                               |
| anomalies            | anomalies.pb, anomalies.txt, drift.json, statistics.html   |
| transform_graph      | transform_fn/ (a SavedModel), features.json                |
| transformed_examples | Split-*/*.tfrecord.gz, summary.json                        |
| model                | Format-Keras/model.keras, Format-Serving/ (a SavedModel),  |
|                      | history.json, gates.json, parameters.json,                 |
|                      | logs/ for TensorBoard                                      |
| evaluation           | metrics.json, importance.json                              |
| blessing,            | BLESSED or NOT_BLESSED                                     |
| infra_blessing       | the same, infra.json, and request.json: one logged row     |
| report               | report.html                                                |
| pushed_model         | pushed.json                                                |
| inference_result     | scores-*.parquet (or .csv, .tfrecord.gz), summary.json,    |
|                      | dead_letter/*.jsonl                                        |

They are TFX's wherever TFX has the artifact.
"""

from pathlib import Path

METADATA = "metadata.sqlite"  # of a workspace: what ran, and its artifacts
CHECKSUMS = "checksums.json"  # of a workspace: those of the log files
WILDCARDS = "wildcards.json"  # of a workspace: {wildcard: its columns}

TENSORBOARD_LINKS = "tensorboard"  # of a workspace: learning curves by run
SWEEPS = "sweeps"  # of a workspace, beside the components
DAYS = "days"  # of a workspace: a folder for each `--day`, and the report over them
COMPARISON = "comparison"  # of a workspace: what `compare` has written
STUDY = "study.sqlite"  # of a sweep: its trials
LEADERBOARD = "leaderboard.json"  # of a sweep, and of a comparison

SPLITS = ("train", "valid", "test")
SPLIT_FOLDERS = "Split-*"
SUMMARY = "summary.json"  # of examples, transformed examples and inference results

PARQUET_FILES = "*.parquet"

FEATURE_STATISTICS = "FeatureStats.pb"
MOMENTS = "moments.json"
LABEL_RATES = "label_rates.json"
ALL_DOMAINS = "*"  # in label rates, beside domains, one of which may be called "all"
LABEL_CORRELATIONS = "label_correlations.json"
VOCABULARY = "vocabulary"

SCHEMA = "schema.pbtxt"

ANOMALIES = "anomalies.pb"
ANOMALIES_TEXT = "anomalies.txt"
DRIFT = "drift.json"
STATISTICS_PAGE = "statistics.html"

TRANSFORM_GRAPH = "transform_fn"
FEATURES = "features.json"
RECORD_FILES = "*.tfrecord.gz"

SERVING_MODEL = "Format-Serving"
KERAS_MODEL = "Format-Keras/model.keras"
HISTORY = "history.json"
GATES = "gates.json"
PARAMETERS = "parameters.json"
TENSORBOARD = "logs"
WEIGHT_NAMES = "assets.extra/variables.json"  # in the SavedModel, for a warm start

METRICS = "metrics.json"
IMPORTANCE = "importance.json"

INFRA = "infra.json"
REQUEST = "request.json"

REPORT = "report.html"

DAY = "day.json"  # of a day: what has become of it
EVALUATION = "evaluation"  # of a day: of the model that was served, as an artifact
DAYS_FOUND = "days.json"  # what the report over days shows

BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"

PUSHED = "pushed.json"

SCORE_FILES = {
    "parquet": "scores-*.parquet",
    "csv": "scores-*.csv",
    "tfrecord": "scores-*.tfrecord.gz",
}


def scratch(workspace: Path, component: str, key: str) -> Path:
    """The folder of what outlives a killed execution of a fingerprint.

    Example:
        >>> scratch(Path("work"), "Trainer", "f00d").as_posix()
        'work/scratch/Trainer/f00d'
    """
    return workspace / "scratch" / component / key


def split(artifact: Path, name: str) -> Path:
    """The folder of a split in examples, transformed examples or statistics.

    Example:
        >>> split(Path("examples"), "train").as_posix()
        'examples/Split-train'
    """
    return artifact / SPLIT_FOLDERS.replace("*", name)


def splits(artifact: Path) -> dict[str, Path]:
    """{split: folder} of the splits that an artifact has, by name."""
    folders = sorted(artifact.glob(SPLIT_FOLDERS))
    prefix = SPLIT_FOLDERS.removesuffix("*")
    return {folder.name.removeprefix(prefix): folder for folder in folders}


def part(number: int) -> str:
    """The prefix of what one call of an ExampleGen worker writes.

    Example:
        >>> part(3)
        'part-00000003'
    """
    return f"part-{number:08d}"


def part_shard(prefix: str, number: int) -> str:
    """A file of examples before `example_shard` numbers those of all workers."""
    return f"{prefix}-{number:08d}.parquet"


def part_shards(split: Path) -> list[Path]:
    """The files of a split that `part_shard` named, in order."""
    return sorted(split.glob("part-*.parquet"))


def example_shard(number: int, of: int) -> str:
    """A file of the examples of a split.

    Example:
        >>> example_shard(0, 2)
        'data-00000-of-00002.parquet'
    """
    return f"data-{number:05d}-of-{of:05d}.parquet"


def transformed_shard(number: int, of: int) -> str:
    """A file of the transformed examples of a split."""
    return f"transformed_examples-{number:05d}-of-{of:05d}.tfrecord.gz"


def vocabulary_shard(statistics: Path, column: str, number: int, of: int) -> Path:
    """A file with some of a column's values and their counts."""
    name = f"values-{number:05d}-of-{of:05d}.parquet"
    return vocabulary(statistics, column) / name


def vocabulary(statistics: Path, column: str) -> Path:
    """The folder with the values of a column."""
    return statistics / VOCABULARY / column


def score_shard(format: str, number: int, of: int) -> str:
    """A file of an inference result.

    Example:
        >>> score_shard("csv", 0, 2)
        'scores-00000-of-00002.csv'
    """
    return SCORE_FILES[format].replace("*", f"{number:05d}-of-{of:05d}")


def dead_letters(examples: Path) -> Path:
    """The folder of what ExampleGen, or BulkInferrer, could not read or use."""
    return examples / "dead_letter"


def dead_letter_file(examples: Path, prefix: str) -> Path:
    """The file for those of one call of a worker."""
    return dead_letters(examples) / f"{prefix}.jsonl"
