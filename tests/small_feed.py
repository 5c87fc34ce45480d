"""The feed of `make demo`, with as little of it as a test of the road needs."""

from paths import ROOT

from pipeline import config as configs

FEED = ROOT / "configs" / "feed.yaml"
# One of each kind: tracing, exporting and drawing all 26 features and 6 tasks takes
# most of the time.
SMALL = {
    "features": """[
  {name: user_id, kind: categorical, embedding_dim: 4},
  {name: watched, kind: sequence, of: video_id, max_length: 5},
  {name: video_id, kind: categorical, embedding_dim: 4},
  {name: duration, kind: numeric, scaling: log1p_zscore},
  {name: length, column: duration, kind: numeric, buckets: 5, embedding_dim: 2},
  {name: tab, kind: categorical, embedding_dim: 2},
  {name: network, kind: categorical, embedding_dim: 2}]""",
    "tasks": """[
  {name: click},
  {name: long_view, space: played},
  {name: like, elapsed: waited, loss: {name: delayed, delay: 600}},
  {name: depth, kind: classes, loss: {name: softmax, classes: 3}},
  {name: watch_seconds, kind: regression, space: played, loss: log_mse,
   calibration_by: tab},
  {name: watch_quantile, label: watch_seconds, kind: regression, space: played,
   loss: {name: d2q, group: length, intervals: 20}}]""",
    "data.labels": "{depth: click + like, waited: 3600 - duration}",
    "export.user_features": "[user_id, watched, tab, network]",
    "export.fused_score.weights": "{click: 1.0, like: 0.2, depth_2: 0.5}",
    "evaluate.best_reachable": "{click: p_click, watch_seconds: e_watch_seconds}",
    "evaluate.minimum": "{}",
    "model.architecture": "shared_bottom",  # the fastest to trace
    "model.options": "{units: [8]}",
}


def overrides(folder, **more):
    """Changes of the feed's config, as `--set` takes them.

    Args:
        folder: Path of the workspace.
        **more: Further ones, and those to replace.
    """
    values = {
        **SMALL,
        "workspace": folder,
        "push.destination": folder / "served",
        **more,
    }
    return [f"{key}={value}" for key, value in values.items()]


def config(folder, **more):
    """The config of the feed with `overrides`."""
    return configs.load(FEED, overrides(folder, **more))
