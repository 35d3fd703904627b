"""Every loss once more, sample by sample in numpy and float64, from the papers' formulas."""

import numpy as np

from training.methods.method import build_method
from training.methods.objective import Outputs, TrainingProgress


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def ce(z, y):
    return float(np.log(np.exp(z - z.max()).sum()) + z.max() - z[y])


def one_hot(y, classes):
    return np.eye(classes)[y]


def effective_weights(n, beta):
    raw = np.array([(1 - beta) / (1 - beta**count) for count in n])
    return raw / raw.sum() * len(n)


def class_mean(values, labels):
    """Mean over the classes present of the class means."""
    return np.mean([np.mean([v for v, y in zip(values, labels, strict=True) if y == c]) for c in sorted(set(labels))])


def focal(z, y, n, gamma):
    return (1 - softmax(z)[y]) ** gamma * ce(z, y)


def ldam(z, y, n, max_margin, scale):
    margins = np.asarray(n, dtype=float) ** -0.25
    margins *= max_margin / margins.max()
    cosines = z / scale
    cosines = cosines - margins[y] * one_hot(y, len(n))
    return ce(scale * cosines, y)


def la(z, y, n, tau):
    return ce(z + tau * np.log(np.asarray(n) / np.sum(n)), y)


def vs(z, y, n, gamma, tau):
    delta = (np.max(n) / np.asarray(n)) ** gamma
    return ce(z / delta + tau * np.log(np.asarray(n) / np.sum(n)), y)


def abc_norm(z, y, n, t, exponent):
    w = (np.asarray(n) / np.mean(n)) ** exponent
    return (1 - t) * ce(z, y) + t * float(((w * softmax(z)) ** 2).sum())


def ib(z, y, h, n, alpha):
    inverse = 1 / np.asarray(n, dtype=float)
    w = inverse / inverse.sum() * len(n)
    size = np.abs(softmax(z) - one_hot(y, len(n))).sum() * np.abs(h).sum()
    return w[y] * alpha / (size + 1e-3) * ce(z, y)


def weighted_mean(values, labels, weights):
    w = np.array([weights[y] for y in labels])
    return float((w * np.array(values)).sum() / w.sum())


def each(outputs, labels, loss):
    """`loss(z, y, h)` of every sample, as a list."""
    z, h = (tensor.detach().numpy() for tensor in (outputs.logits, outputs.features))
    return [loss(z[i], y, h[i]) for i, y in enumerate(labels.tolist())]


MOMENT = {"progress": TrainingProgress(0.5, 5, 10)}
LATE = {"progress": TrainingProgress(0.95, 9, 10)}


def objective(name, counts, outputs, labels, moment=LATE, mix=None, **kwargs):
    return build_method(name, counts, **kwargs).objective(outputs, labels, **moment, mix=mix)


def outputs_of(network, inputs):
    """Outputs of a network whose last module is the classifier."""
    features = network[:-1](inputs)
    return Outputs(network[-1](features), features, network[-1].weight)
