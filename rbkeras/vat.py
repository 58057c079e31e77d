"""Virtual adversarial training: the term that learns from stamps without labels.

The network should answer alike in a small ball around every stamp, labelled or not; the term
measures how much it fails to in the worst direction of that ball, found by power iteration.

Reference: Miyato et al. 2018, IEEE TPAMI 41, 1979, "Virtual adversarial training".
"""

from collections.abc import Callable

import tensorflow as tf

from rbkeras.losses import score

LogitsFunction = Callable[[tf.Tensor], tf.Tensor]


def choose_share(labels: tf.Tensor, share: float) -> tf.Tensor:
    """Choose the part of a batch that VAT looks at: unlabelled stamps first, then at random.

    Parameters
    ----------
    labels
        Integers (N,), -1 unlabelled.
    share
        In (0, 1].

    Returns
    -------
    tf.Tensor
        int32 (ceil(share N),), different positions in the batch. With more unlabelled stamps than
        that, some of them, drawn at random.
    """
    count = tf.shape(labels)[0]
    # The factor keeps 0.3 x 50, slightly more than 15 in float32, from becoming 16.
    kept = tf.math.ceil(share * (1 - 1e-6) * tf.cast(count, tf.float32))
    unlabelled = tf.cast(tf.cast(labels, tf.int32) < 0, tf.float32)
    priority = unlabelled + tf.random.uniform(tf.shape(labels))
    return tf.math.top_k(priority, tf.cast(kept, tf.int32), sorted=False).indices


def unit_per_stamp(direction: tf.Tensor) -> tf.Tensor:
    """Scale each stamp of `direction`, shape (N, H, W, C), to L2 norm 1; zeros stay zeros.

    The division by the largest element first keeps the squares of a confident network's tiny
    gradients from vanishing in float32.
    """
    axes = list(range(1, direction.shape.rank))
    largest = tf.reduce_max(tf.abs(direction), axis=axes, keepdims=True)
    direction = tf.math.divide_no_nan(direction, largest)
    norm = tf.sqrt(tf.reduce_sum(tf.square(direction), axis=axes, keepdims=True))
    return tf.math.divide_no_nan(direction, norm)


def soft_cross_entropy(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """CE(target, softmax(logits)) of each stamp: (N, 2) and (N, 2) give (N,)."""
    log_probability = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    return -tf.reduce_sum(target * log_probability, axis=-1)


def adversarial_direction(
    logits_of: LogitsFunction,
    stamps: tf.Tensor,
    clean_logits: tf.Tensor,
    start: tf.Tensor,
    *,
    xi: float,
    iterations: int,
) -> tf.Tensor:
    """Find the unit direction in which the network's answer changes most.

    Each of the power iterations replaces d by g / |g|, where g is the gradient of
    CE(p, softmax z(x + r)), p = softmax z(x), with respect to r at r = xi d. With two classes that
    is the gradient of the score z1 - z0 times q1 - p1, q = softmax z(x + r). The sign of q1 - p1,
    which is that of the change of the score, is all of it that matters to the direction; its size
    would vanish for confident stamps, in float16 long before float32.

    Parameters
    ----------
    logits_of
        The network, stamps (N, H, W, C) to logits (N, 2).
    stamps
        float32, (N, H, W, C), finite.
    clean_logits
        z(x), (N, 2).
    start
        First direction, shape of `stamps`; each stamp is scaled to unit length here.
    xi
        Finite-difference length, in units of `stamps`.
    iterations
        Number of power iterations, each a forward and a backward pass.

    Returns
    -------
    tf.Tensor
        Shape of `stamps`, each stamp of L2 norm 1 (0 where the gradient is exactly 0).
    """
    clean = score(tf.cast(clean_logits, tf.float32))
    direction = unit_per_stamp(start)
    for _ in range(iterations):
        perturbation = xi * direction
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(perturbation)
            moved = score(tf.cast(logits_of(stamps + perturbation), tf.float32))
            # The sum, so that a stamp's gradient does not depend on how many share its batch.
            change = tf.reduce_sum(tf.stop_gradient(tf.sign(moved - clean)) * moved)
        direction = unit_per_stamp(tape.gradient(change, perturbation))
    return tf.stop_gradient(direction)


def vat_loss(
    logits_of: LogitsFunction,
    stamps: tf.Tensor,
    clean_logits: tf.Tensor,
    direction: tf.Tensor,
    *,
    epsilon: float,
) -> tf.Tensor:
    """Mean over all stamps of CE(p, softmax z(x + epsilon d)), a scalar.

    p = softmax(clean_logits) is a constant target: the term moves the perturbed answer towards
    the clean one, not the other way round.
    """
    target = tf.stop_gradient(tf.nn.softmax(tf.cast(clean_logits, tf.float32)))
    perturbed = logits_of(stamps + epsilon * direction)
    return tf.reduce_mean(soft_cross_entropy(target, perturbed))
