"""CVIB: its loss, written a second time, and what it is without its two terms."""

from __future__ import annotations

from typing import Any

import torch
from torch.testing import assert_close

from methods.base import total
from tests.methods.small import Whole, all_observed, all_pairs, built, gradients, plain_logits

torch.set_num_threads(1)  # tensors this small are slower with more, on a busy machine by far


def test_loss_and_gradient_are_those_of_the_formula() -> None:
    method: Any = built("cvib", contrast_weight=0.7, confidence_weight=0.3)
    o, d = all_observed(method), all_pairs(method)
    free = {name: table.clone().requires_grad_() for name, table in method.prediction.tables.items()}
    p, p_d = (torch.sigmoid(plain_logits(free, each)) for each in (o, d))
    m_o, m_d = p.mean(-1), p_d.mean(-1)
    expected = (
        -(o.labels * p.log() + (1 - o.labels) * (1 - p).log()).mean(-1)
        + 0.7 * (-m_o * m_d.log() - (1 - m_o) * (1 - m_d).log())
        + 0.3 * (p * p.log()).mean(-1)
    )
    loss = total(method.losses(o, d))
    assert_close(loss, expected, rtol=1e-9, atol=1e-11)
    expected.sum().backward()
    for name, slope in gradients(method.prediction, loss).items():
        assert_close(slope, free[name].grad, rtol=1e-8, atol=1e-10)


def test_without_its_terms_it_is_mf() -> None:
    cvib, mf = built("cvib", contrast_weight=0.0, confidence_weight=0.0), built("mf")
    for _ in range(3):
        cvib.step(Whole(cvib))  # type: ignore[arg-type]
        mf.step(Whole(mf))  # type: ignore[arg-type]
    for name, table in mf.prediction.tables.items():
        assert_close(cvib.prediction.tables[name], table, rtol=1e-12, atol=1e-14)
