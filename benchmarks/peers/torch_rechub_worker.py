"""torch-rechub: its trainer's epoch over prebatched tensors in memory.

Variants: "adam", as shipped; "adam+nobn", without its batch norm; "sparse+nobn": its
embeddings with `sparse=True` and SparseAdam, Adam for the rest. Weight decay, on by
default in its trainer, is off: nobody else has it, and it costs time.
"""

import tables
import torch
import worker
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE, PLE, SharedBottom
from torch_rechub.models.multi_task.ple import CGC
from torch_rechub.trainers import MTLTrainer


def make(case, features, tasks):
    types = ["classification"] * tasks
    towers = [{"dims": case["tower"]}] * tasks
    options = case["options"]
    if case["architecture"] == "shared_bottom":
        bottom = {"dims": list(options["units"])}
        return SharedBottom(features, types, bottom, towers)
    if case["architecture"] == "mmoe":
        experts = {"dims": list(options["expert_units"])}
        return MMOE(features, types, options["experts"], experts, towers)
    # Its PLE has experts of one size on both levels: the second level is replaced, and
    # the towers, which follow the size it is told, are made for the second.
    experts = options["task_experts"], options["shared_experts"]
    (first,), (second,) = options["expert_units"]
    model = PLE(features, types, 2, *experts, {"dims": [first]}, towers)
    model.cgc_layers[1] = CGC(1, 1, tasks, *experts, first, {"dims": [second]})
    model.towers = PLE(features, types, 1, *experts, {"dims": [second]}, towers).towers
    return model


class _SparseAndDense:
    """SparseAdam for the embeddings, Adam for the rest, as one optimizer."""

    def __init__(self, model):
        sparse = set(model.embedding.parameters())
        dense = [p for p in model.parameters() if p not in sparse]
        self.parts = [
            torch.optim.SparseAdam(list(sparse), lr=1e-3),
            torch.optim.Adam(dense, lr=1e-3),
        ]

    def step(self):
        for part in self.parts:
            part.step()


def build(case):
    ids, numbers, labels, sizes = tables.load(case["data"])
    features = [
        SparseFeature(f"id_{i}", vocab_size=rows, embed_dim=sizes["dim"])
        for i, rows in enumerate(sizes["vocabulary"])
    ]
    features += [DenseFeature(f"number_{i}") for i in range(numbers.shape[1])]
    model = make(case, features, labels.shape[1])
    optimizer, _, norm = case["variant"].partition("+")
    if norm == "nobn":
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, torch.nn.BatchNorm1d):
                    setattr(module, name, torch.nn.Identity())
    trainer = MTLTrainer(
        model,
        ["classification"] * labels.shape[1],
        optimizer_params={"lr": 1e-3},
    )
    if optimizer == "sparse":
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.sparse = True
        trainer.optimizer = _SparseAndDense(model)
    columns = [torch.from_numpy(x.copy()) for x in (*ids.T, *numbers.T)]
    labels = torch.from_numpy(labels)
    batches = []
    for start in range(0, len(labels) - case["batch"] + 1, case["batch"]):
        rows = slice(start, start + case["batch"])
        x = {f.name: c[rows].clone() for f, c in zip(features, columns, strict=True)}
        batches.append((x, labels[rows].clone()))
    return (
        sum(p.numel() for p in model.parameters()),
        len(batches) * case["batch"],
        lambda: trainer.train_one_epoch(batches),
    )


if __name__ == "__main__":
    torch.set_num_threads(2)
    worker.serve(build)
