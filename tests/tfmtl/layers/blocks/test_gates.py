"""The softmax gate, over one bank of experts or several."""

import numpy as np
import pytest

from tfmtl.layers.blocks.gates import SoftmaxGate, record_gates

RNG = np.random.default_rng(0)
SELECTOR, EXPERTS = (
    RNG.normal(size=shape).astype("float32") for shape in ((6, 5), (6, 4, 3))
)


@pytest.mark.parametrize("sizes", [(4,), (1, 3), (2, 1, 1)])
def test_banks_are_mixed_as_one(sizes):
    gate = SoftmaxGate(4)
    gate.build(SELECTOR.shape)
    ends = np.cumsum(sizes)
    banks = np.split(EXPERTS, ends[:-1], axis=1)
    with record_gates() as gates:
        mixed = gate(SELECTOR, banks)
    ((weights, _),) = gates.values()
    expected = np.einsum("be,beu->bu", weights, EXPERTS)
    np.testing.assert_allclose(mixed, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gate(SELECTOR, EXPERTS), expected, rtol=1e-5, atol=1e-6)
