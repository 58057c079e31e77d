"""The original scripts' way of a training step, written anew as the reference of the benchmarks.

Each term of the loss asks the network itself: one clean pass for the cross-entropy, one for the
AUC hinge, one for what VAT compares with, each kept for the gradients, the search for VAT's
direction included. The mathematics is that of `RealBogusClassifier`, which has one clean pass and
keeps nothing of the search.
"""

from typing import Any

import keras
import tensorflow as tf

from rbkeras import vat
from rbkeras.losses import auc_hinge, cross_entropy
from rbkeras.models.classifier import (
    BACKBONE_LAYER,
    NORMALISATION_LAYER,
    RealBogusClassifier,
)


class SeparatePasses(RealBogusClassifier):
    """The classifier with a pass of its own for every term; its VAT looks at all stamps."""

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step on the three terms."""
        stamps, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        settings = self._loss_settings()
        with tf.GradientTape() as tape:
            logits = self(stamps, training=True)
            terms = {
                "ce": cross_entropy(labels, logits),
                "auc_hinge": auc_hinge(
                    labels, self(stamps, training=True), margin=settings.auc_margin
                ),
                "vat": self._separate_vat(stamps, settings),
            }
            loss = settings.total(**terms) + sum(self.losses)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self._track(loss, terms, labels, batch=tf.shape(logits)[0])
        return self.compute_metrics(stamps, labels, logits)

    def _separate_vat(self, stamps: tf.Tensor, settings: Any) -> tf.Tensor:
        normalised = self.get_layer(NORMALISATION_LAYER)(stamps)
        backbone = self.get_layer(BACKBONE_LAYER)

        def logits_of(x: Any) -> Any:
            return backbone(x, training=True)

        clean = logits_of(normalised)
        direction = vat.adversarial_direction(
            logits_of,
            normalised,
            clean,
            tf.random.normal(tf.shape(normalised)),
            xi=settings.vat_xi,
            iterations=settings.vat_iterations,
        )
        return vat.vat_loss(logits_of, normalised, clean, direction, epsilon=settings.vat_epsilon)


def separate_passes(model: RealBogusClassifier) -> SeparatePasses:
    """Return an uncompiled classifier with the layers and weights of `model`."""
    return SeparatePasses(model.inputs, model.outputs)
