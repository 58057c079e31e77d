"""The original's way, which ours is measured against, does the same work."""

import sys
from pathlib import Path

import numpy as np
import pytest

from rbkeras.losses import RealBogusLoss
from rbkeras.models.classifier import build_classifier
from rbkeras.training import compile_classifier, make_optimizer, set_seed

SHAPE = (13, 13, 3)


@pytest.fixture
def separate_passes(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    from original_training import separate_passes

    yield separate_passes
    sys.modules.pop("original_training")


def test_a_step_of_the_originals_way_has_the_same_terms(separate_passes, random_stamps):
    stamps = random_stamps(16, SHAPE)
    labels = np.array([0, 1] * 6 + [-1] * 4, np.int32)

    def step(make):
        set_seed(0)
        model = make(build_classifier(SHAPE, network="simple", width=0.25, dropout=0.0))
        optimizer = make_optimizer(total_steps=9)
        loss = RealBogusLoss(lambda_auc=0.1, lambda_vat=1.0, vat_share=1.0)
        compile_classifier(model, optimizer=optimizer, loss=loss)
        return model.train_on_batch(stamps, labels, return_dict=True)

    ours, original = step(lambda model: model), step(separate_passes)
    for term in ("ce", "auc_hinge"):
        assert original[term] == pytest.approx(ours[term], rel=1e-4)
    # The directions are drawn in another order.
    assert original["vat"] == pytest.approx(ours["vat"], rel=0.1)
