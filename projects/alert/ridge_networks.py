"""Networks that need no training loop: fixed random convolutions, a readout solved in closed form.

They are real image classifiers of handwritten digits whose accuracy grows with their width, built
in under a second without PyTorch. Recordings time one of them; smoke runs and tests use a small
family, nested or not, where trained networks would take too long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from common.errors import require

if TYPE_CHECKING:
    import numpy as np

SIDE = 32
_POOLED = 4
_OPSET, _IR = 17, 9


class Digits(NamedTuple):
    """Images of shape (n, 1, 32, 32) in [0, 1] and their labels, for fitting and for testing."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def digits(train: int = 1000, seed: int = 0) -> Digits:
    """Load scikit-learn's 8 x 8 digits, enlarged four times, in random order."""
    import numpy as np
    from sklearn.datasets import load_digits

    raw = load_digits()
    order = np.random.default_rng(seed).permutation(len(raw.target))
    small = (raw.images[order] / 16).astype(np.float32)
    images = small.repeat(4, axis=1).repeat(4, axis=2)[:, None]
    labels = raw.target[order]
    return Digits(images[:train], labels[:train], images[train:], labels[train:])


def network(
    width: int, *, carried: int = 0, readout: tuple[np.ndarray, np.ndarray] | None = None, seed: int
) -> bytes:
    """Serialise an ONNX graph: two random convolutions, pooling and a linear readout.

    Parameters
    ----------
    width : int
        Channels of both convolutions; the time grows with its square.
    carried : int
        Features of earlier stages, a second input ``carried`` that the readout also sees.
    readout : pair of arrays, optional
        Weight (carried + 16 width, classes) and bias (classes,); default: random, 10 classes.
    seed : int
        Of the random weights.

    Returns
    -------
    bytes
        Inputs ``image`` (n, 1, 32, 32) and perhaps ``carried``; outputs ``logits`` and
        ``features``, all features so far.
    """
    import numpy as np

    onnx = require("onnx", "edge")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    rng = np.random.default_rng([seed, width])
    total = carried + width * _POOLED**2
    tensors = {
        "first": rng.normal(size=(width, 1, 5, 5)) / 5,
        "first_bias": rng.normal(size=width) / 2,
        "second": rng.normal(size=(width, width, 3, 3)) / (3 * width**0.5),
        "second_bias": rng.normal(size=width) / 2,
    }
    if readout is None:  # drawn last: the convolutions are the same with and without one
        readout = rng.normal(size=(total, 10)) / total**0.5, np.zeros(10)
    tensors |= {"weight": readout[0], "bias": readout[1]}
    own = "features" if not carried else "own"
    pool = {"kernel_shape": [SIDE // _POOLED] * 2, "strides": [SIDE // _POOLED] * 2}
    nodes = [
        helper.make_node("Conv", ["image", "first", "first_bias"], ["a"], pads=[2] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second", "second_bias"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("AveragePool", ["d"], ["e"], **pool),
        helper.make_node("Flatten", ["e"], [own]),
        *([helper.make_node("Concat", ["carried", own], ["features"], axis=1)] * bool(carried)),
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"]),
    ]

    def value(name: str, *shape: int | str) -> object:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))

    inputs = [value("image", "n", 1, SIDE, SIDE)]
    inputs += [value("carried", "n", carried)] * bool(carried)
    outputs = [value("logits", "n", readout[0].shape[1]), value("features", "n", total)]
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in tensors.items()]
    graph = helper.make_graph(nodes, "ridge", inputs, outputs, weights)
    opset = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=_IR)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def fitted(widths: tuple[int, ...], data: Digits, seed: int = 0) -> list[tuple[bytes, float]]:
    """Build the stages of a network and fit each readout to the training images.

    Parameters
    ----------
    widths : tuple of int
        Width of each stage; one for a traditional network. Every stage reads the features of all
        earlier ones.
    data : Digits
        Images to fit and to test on.
    seed : int
        Of the random weights.

    Returns
    -------
    list of (bytes, float)
        The ONNX graph of each stage and the network's accuracy on the test images after it.
    """
    import numpy as np

    stages = []
    seen = {"train": data.train_x, "test": data.test_x}
    carried = {name: np.zeros((len(x), 0), np.float32) for name, x in seen.items()}
    for stage, width in enumerate(widths):
        held, key = carried["train"].shape[1], seed + stage
        untrained = network(width, carried=held, seed=key)
        carried = {name: _features(untrained, seen[name], carried[name]) for name in seen}
        readout = _ridge(carried["train"], data.train_y)
        graph = network(width, carried=held, readout=readout, seed=key)
        guess = (carried["test"] @ readout[0] + readout[1]).argmax(1)
        stages.append((graph, float((guess == data.test_y).mean())))
    return stages


def _features(graph: bytes, images: np.ndarray, carried: np.ndarray) -> np.ndarray:
    import numpy as np

    from projects.alert.runners import open_session

    session = open_session(graph)
    parts = []
    for begin in range(0, len(images), 100):
        feed = {"image": images[begin : begin + 100]}
        if carried.shape[1]:
            feed["carried"] = carried[begin : begin + 100]
        parts.append(session.run(["features"], feed)[0])
    return np.concatenate(parts)


def _ridge(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares on one-hot labels with a penalty that keeps the weights finite."""
    import numpy as np

    centre = features.mean(0)
    x = (features - centre).astype(np.float64)
    y = np.eye(int(labels.max()) + 1)[labels]
    penalty = 1e-2 * np.trace(x.T @ x) / x.shape[1] * np.eye(x.shape[1])
    weight = np.linalg.solve(x.T @ x + penalty, x.T @ (y - y.mean(0)))
    return weight, y.mean(0) - centre @ weight
