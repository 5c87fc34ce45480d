"""Architectures that are their sharing structure, and nothing else.

Equations and options of each are those of its layer.
"""

import keras

from tfmtl import layers
from tfmtl.models.base import MultiTaskModel


@keras.saving.register_keras_serializable("tfmtl.models")
class SharedBottom(MultiTaskModel):
    """One network for all tasks, then one tower a task: y_k = t_k(f(x)).

    See Also: `tfmtl.layers.SharedBottom`.
    """

    architecture = "shared_bottom"
    structure = layers.SharedBottom


@keras.saving.register_keras_serializable("tfmtl.models")
class Asymmetric(MultiTaskModel):
    """One task's network is seen by all; the others keep theirs to themselves.

    Deviations from the paper: see the layer for more than two tasks.

    See Also: `tfmtl.layers.Asymmetric` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    architecture = "asymmetric"
    structure = layers.Asymmetric


@keras.saving.register_keras_serializable("tfmtl.models")
class Customized(MultiTaskModel):
    """Each task's tower reads the shared network and the task's own.

    See Also: `tfmtl.layers.Customized` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    architecture = "customized"
    structure = layers.Customized


@keras.saving.register_keras_serializable("tfmtl.models")
class CrossStitch(MultiTaskModel):
    """One network a task, mixed linearly after each layer by learnt numbers.

    Deviations from the paper: units after every dense layer, see the layer.

    See Also: `tfmtl.layers.CrossStitch` for the equations.

    References:
        - [Cross-stitch Networks](https://arxiv.org/abs/1604.03539)
    """

    architecture = "cross_stitch"
    structure = layers.CrossStitch


@keras.saving.register_keras_serializable("tfmtl.models")
class Sluice(MultiTaskModel):
    """Cross-stitch between halves of the tasks' layers, with skips to the towers.

    Deviations from the paper: initial values and the penalty's weight, see the layer.

    See Also: `tfmtl.layers.Sluice` for the equations.

    References:
        - [Latent Multi-task Architecture Learning](https://arxiv.org/abs/1705.08142)
    """

    architecture = "sluice"
    structure = layers.Sluice


@keras.saving.register_keras_serializable("tfmtl.models")
class SNR(MultiTaskModel):
    """Levels of sub-networks whose connections learn to be on or off.

    Deviations from the paper: sizes and the penalty's weight, see the layer.

    See Also: `tfmtl.layers.SNR` for the equations.

    References:
        - [SNR](https://doi.org/10.1609/aaai.v33i01.3301216)
    """

    architecture = "snr"
    structure = layers.SNR


@keras.saving.register_keras_serializable("tfmtl.models")
class OMoE(MultiTaskModel):
    """Shared experts, mixed for all tasks by one gate.

    See Also: `tfmtl.layers.OMoE` for the equations.

    References:
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007)
    """

    architecture = "omoe"
    structure = layers.OMoE


@keras.saving.register_keras_serializable("tfmtl.models")
class MMoE(MultiTaskModel):
    """Multi-gate Mixture-of-Experts: each task mixes shared experts by its own gate.

    Deviations from the paper: its experiments have 8 experts of one layer of 16 units;
    the default is 4 of (256, 128), as deep as the other architectures here.

    See Also: `tfmtl.layers.MMoE` for the equations.

    References:
        - [Multi-gate Mixture-of-Experts](https://doi.org/10.1145/3219819.3220007)
    """

    architecture = "mmoe"
    structure = layers.MMoE


@keras.saving.register_keras_serializable("tfmtl.models")
class MLMMoE(MultiTaskModel):
    """MMoE whose experts read gated mixes of the experts below.

    See Also: `tfmtl.layers.MLMMoE` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    architecture = "ml_mmoe"
    structure = layers.MLMMoE


@keras.saving.register_keras_serializable("tfmtl.models")
class CGC(MultiTaskModel):
    """Customized Gate Control: each task mixes its own experts and the shared ones.

    Deviations from the paper: its experts have one layer; here two by default, as deep
    as the two levels of PLE.

    Args:
        expert_units: Tuple of integers. Layer widths of an expert; interactions are
            projected to the last. Defaults to (256, 128).

    See Also: `tfmtl.layers.CGC` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    architecture = "cgc"
    structure = layers.CGC
    given = ("shared_gate",)  # which no tower would read

    def __init__(self, features, tasks, *, expert_units=(256, 128), **options):
        super().__init__(features, tasks, expert_units=expert_units, **options)


@keras.saving.register_keras_serializable("tfmtl.models")
class PLE(MultiTaskModel):
    """Progressive Layered Extraction.

    Deviations from the paper: number and width of experts are not given there. Two
    levels are its own choice for all models of several levels.

    See Also: `tfmtl.layers.PLE` for the equations.

    References:
        - [Progressive Layered Extraction](https://doi.org/10.1145/3383313.3412236)
    """

    architecture = "ple"
    structure = layers.PLE


@keras.saving.register_keras_serializable("tfmtl.models")
class AdaTT(MultiTaskModel):
    """Adaptive Task-to-Task fusion: gates over all experts, own ones as a residual.

    Deviations from the paper: number and width of experts are those of PLE here; it
    searched them.

    See Also: `tfmtl.layers.AdaTT` for the equations.

    References:
        - [AdaTT](https://doi.org/10.1145/3580305.3599769)
    """

    architecture = "adatt"
    structure = layers.AdaTT


@keras.saving.register_keras_serializable("tfmtl.models")
class DBMTL(MultiTaskModel):
    """Deep Bayesian Multi-Target Learning: each task's network reads those before it.

    Deviations from the paper: sizes are not given there. It ends each task in one
    layer, `Task(..., tower=())`.

    See Also: `tfmtl.layers.DBMTL` for the equations.

    References:
        - [DBMTL](https://arxiv.org/abs/1902.09154)
    """

    architecture = "dbmtl"
    structure = layers.DBMTL


@keras.saving.register_keras_serializable("tfmtl.models")
class HoME(MultiTaskModel):
    """Hierarchy of Multi-gate Experts: those of all, of a group of tasks, of a task.

    Reconstruction from the paper's abstract and public code, see the layer. In training
    all rows of a batch count in the normalisation of experts, also those outside of a
    task's sample space.

    See Also: `tfmtl.layers.HoME` for the equations.

    References:
        - [HoME](https://arxiv.org/abs/2408.05430)
    """

    architecture = "home"
    structure = layers.HoME
