"""Averaging predictions."""

import numpy as np
from scipy.special import log_softmax, logsumexp


def mean_prediction(logits: np.ndarray) -> np.ndarray:
    """Average predictions of networks, or views: the mean of their probabilities, as logits.

    Probabilities rather than logits are averaged because logits are unbounded: one network that
    is too sure of itself would outvote all others. Besides, what stage 1 estimates, the probability
    that a stamp is labelled real, is linear in the probability that it is real (see
    `rbkeras.suspicion.error_probability`).

    Parameters
    ----------
    logits
        float (R, N, 2), of R networks or views. NaN and infinities end in NaN or infinities.

    Returns
    -------
    numpy.ndarray
        float64 (N, 2), logarithms of the mean probabilities, which are logits too. They are
        finite where the logits are, however large.

    References
    ----------
    Lakshminarayanan, Pritzel & Blundell 2017, NeurIPS 30 (uniformly weighted mixture).
    """
    logits = np.asarray(logits, np.float64)
    return logsumexp(log_softmax(logits, axis=-1), axis=0) - np.log(len(logits))
