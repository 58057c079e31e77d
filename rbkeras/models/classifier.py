"""The classifier: a functional Keras model whose training step adds the three loss terms."""

from typing import Any, Self

import keras
import tensorflow as tf

# The metrics are registered with Keras by being imported, and compiled models are saved with them.
from rbkeras import streaming_metrics, vat  # noqa: F401
from rbkeras.decision import Decision
from rbkeras.losses import RealBogusLoss
from rbkeras.models.backbones import NETWORKS, build_backbone
from rbkeras.models.normalisation import StampNormalisation
from rbkeras.tensors import Tensor

NORMALISATION_LAYER = "normalisation"
BACKBONE_LAYER = "backbone"


@keras.saving.register_keras_serializable(package="rbkeras")
class RealBogusClassifier(keras.Model):
    """Raw stamps in, logits (bogus, real) out; trained semi-supervised.

    Use `build_classifier` to make one, and compile it with `RealBogusLoss`. Training data are
    batches of (stamps, labels): float32 (N, H, W, C), NaN allowed, and integers (N,) in
    {0, 1, -1}; -1 is unlabelled and takes part in the VAT term alone.

    The constructor has the signature of a functional model, so that saving, cloning, KerasTuner
    and `BackupAndRestore` treat it as one. It turns TensorFlow's TF32 off, in the whole process.

    Attributes
    ----------
    decision
        Threshold and calibration of these weights, saved with the model; None until measured. A
        clone, whose weights are new, has none.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        # On recent GPUs TensorFlow computes float32 with 10 bits of mantissa unless told otherwise.
        # Scores would differ by 1e-3 from those of a processor, and of every exported file.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        super().__init__(*args, **kwargs)
        self.decision: Decision | None = None
        self.ce_tracker = keras.metrics.Mean(name="ce")
        self.auc_hinge_tracker = keras.metrics.Mean(name="auc_hinge")
        self.vat_tracker = keras.metrics.Mean(name="vat")

    @property
    def again_from(self) -> float | None:
        """Score above which stamps get a second look; None where the model asks for none."""
        again = None if self.decision is None else self.decision.second_look
        return None if again is None else again.from_score

    @property
    def precision(self) -> keras.DTypePolicy:
        """What the network computes in; the model itself, which holds it, does not remember."""
        layers = self.get_layer(BACKBONE_LAYER).layers
        return next(layer.dtype_policy for layer in layers if layer.weights)

    def get_config(self) -> dict[str, Any]:
        """Return the functional model's config and, once measured, the decision."""
        config = super().get_config()
        if self.decision is not None:
            config["decision"] = self.decision.to_json()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Rebuild the model; files of earlier versions have no decision."""
        config = dict(config)
        decision = config.pop("decision", None)
        model = super().from_config(config, custom_objects=custom_objects)
        if decision is not None:
            model.decision = Decision.from_json(decision)
        return model

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step on CE + AUC hinge + VAT, with one clean forward pass shared by the three.

        Parameters
        ----------
        data
            (stamps, labels), one batch.

        Returns
        -------
        dict
            Running means of `loss`, `ce`, `auc_hinge`, `vat` (each before its weight) and the
            metrics; `ce` and `auc_hinge` are means over labelled samples.
        """
        stamps, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        loss_settings = self._loss_settings()
        with tf.GradientTape() as tape:
            normalised = self.get_layer(NORMALISATION_LAYER)(stamps)
            logits = self.get_layer(BACKBONE_LAYER)(normalised, training=True)
            terms = loss_settings.labelled_terms(labels, logits)
            terms["vat"] = tf.zeros(())
            if loss_settings.lambda_vat:
                terms["vat"] = self._vat_term(
                    tape, stamps, labels, normalised, logits, loss_settings
                )
            loss = loss_settings.total(**terms) + sum(self.losses)
            self._track(loss, terms, labels, batch=tf.shape(logits)[0])
            scaled = self.optimizer.scale_loss(_share_of_replica(loss))
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return self.compute_metrics(stamps, labels, logits)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The labelled terms and metrics of one batch, without dropout; VAT is not measured."""
        stamps, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        logits = self(stamps, training=False)
        loss_settings = self._loss_settings()
        terms = loss_settings.labelled_terms(labels, logits)
        loss = loss_settings.total(**terms)
        self._track(loss, terms, labels, batch=_labelled(labels))
        measured = self.compute_metrics(stamps, labels, logits)
        measured.pop("vat", None)
        return measured

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Build metrics and optimizer before the first step, from the shape of a batch.

        On one device Keras would build them within it, and trace it twice for that, which takes
        seconds. On several it would draw a batch to see its shape, and leave the shuffling one
        epoch ahead of that of the same training on one device.
        """
        stamps = keras.KerasTensor(self.input_shape, "float32")
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=(stamps, keras.KerasTensor((None,), "int32")))

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        """Measure on all replicas together what Keras would average over them.

        It does so itself where the logs have all metrics; those of `test_step` lack VAT. A mean of
        the replicas' areas under the curve is not the area.
        """
        measured = self.get_metrics_result()
        if isinstance(logs, dict) and logs.keys() <= measured.keys():
            return {name: measured[name] for name in logs}
        return logs

    def _loss_settings(self) -> RealBogusLoss:
        if not isinstance(self.loss, RealBogusLoss):
            raise ValueError(
                "RealBogusClassifier has to be compiled with loss=RealBogusLoss(...), "
                f"received loss={self.loss!r}"
            )
        return self.loss

    def _vat_term(
        self,
        tape: tf.GradientTape,
        stamps: tf.Tensor,
        labels: tf.Tensor,
        normalised: tf.Tensor,
        logits: tf.Tensor,
        settings: RealBogusLoss,
    ) -> tf.Tensor:
        backbone = self.get_layer(BACKBONE_LAYER)
        if settings.vat_share < 1:
            chosen = vat.choose_share(labels, settings.vat_share)
            stamps, normalised, logits = (
                tf.gather(part, chosen) for part in (stamps, normalised, logits)
            )
        if settings.vat_space == "normalised":
            base = normalised

            def logits_of(x: Tensor) -> Tensor:
                return backbone(x, training=True)
        else:
            base = tf.where(tf.math.is_finite(stamps), stamps, tf.zeros_like(stamps))

            def logits_of(x: Tensor) -> Tensor:
                # Missing pixels stay missing: a perturbation has nothing to act on there.
                x = tf.where(tf.math.is_finite(stamps), x, stamps)
                return backbone(self.get_layer(NORMALISATION_LAYER)(x), training=True)

        # The search for the direction is not differentiated: keep it off the outer tape.
        with tape.stop_recording():
            direction = vat.adversarial_direction(
                logits_of,
                base,
                logits,
                tf.random.normal(tf.shape(base)),
                xi=settings.vat_xi,
                iterations=settings.vat_iterations,
            )
        return vat.vat_loss(logits_of, base, logits, direction, epsilon=settings.vat_epsilon)

    def _track(
        self, loss: tf.Tensor, terms: dict[str, tf.Tensor], labels: tf.Tensor, *, batch: tf.Tensor
    ) -> None:
        self._loss_tracker.update_state(loss, sample_weight=batch)
        # By the labelled samples: of these two a batch without any says nothing.
        labelled = _labelled(labels)
        self.ce_tracker.update_state(terms["ce"], sample_weight=labelled)
        self.auc_hinge_tracker.update_state(terms["auc_hinge"], sample_weight=labelled)
        if "vat" in terms:
            self.vat_tracker.update_state(terms["vat"], sample_weight=batch)


def _labelled(labels: tf.Tensor) -> tf.Tensor:
    """Count the samples of a batch that have a label."""
    return tf.reduce_sum(tf.cast(tf.cast(labels, tf.int32) >= 0, tf.float32))


def _share_of_replica(loss: tf.Tensor) -> tf.Tensor:
    """Divide by the number of replicas, whose gradients are summed."""
    return loss / tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)


def build_classifier(
    stamp_shape: tuple[int, int, int],
    *,
    network: str = "compact",
    normalisation: str | None = None,
    **options: Any,
) -> RealBogusClassifier:
    """Build an uncompiled classifier of raw stamps.

    Parameters
    ----------
    stamp_shape
        Height, width and channels of the raw stamp.
    network
        One of `rbkeras.models.backbones.NETWORKS`.
    normalisation
        One of `rbkeras.models.normalisation.NORMALISATIONS`; None takes the network's own.
    **options
        Fields of `rbkeras.models.backbones.BackboneOptions`: see `build_backbone`.

    Returns
    -------
    RealBogusClassifier
        Input 'stamp' float32 (N, H, W, C), output logits float32 (N, 2).

    Raises
    ------
    ValueError
        When a name or an option is wrong or the stamp is too small for the network.
    """
    if network not in NETWORKS:
        raise ValueError(f"network: expected one of {sorted(NETWORKS)}, got {network!r}")
    kind = normalisation or NETWORKS[network].normalisation
    stamp = keras.Input(stamp_shape, dtype="float32", name="stamp")
    normalised = StampNormalisation(kind, name=NORMALISATION_LAYER)(stamp)
    backbone = build_backbone(normalised.shape[1:], network=network, **options)
    return RealBogusClassifier(stamp, backbone(normalised), name="real_bogus_classifier")
