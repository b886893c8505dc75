import importlib
import pickle
import sys
import warnings

import pytest

from common.errors import MissingExtra
from projects.jlmetric import compare
from tests.projects.jlmetric.dense import make_stream, rewired

torch = pytest.importorskip("torch")
from projects.jlmetric import JLEvaluator, JLMetric


@pytest.fixture(params=["torchmetrics", "torch alone"])
def metric_class(request, monkeypatch):
    """The class with torchmetrics and, in a fresh import, without."""
    import projects.jlmetric.metric as module

    if request.param == "torchmetrics":
        pytest.importorskip("torchmetrics")
        yield JLMetric
        return
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, module.__name__)
    alone = importlib.import_module(module.__name__)
    assert not alone.WITH_TORCHMETRICS
    yield alone.JLMetric
    monkeypatch.undo()
    sys.modules["projects.jlmetric"].metric = module


def test_the_mean_of_all_updates(metric_class):
    stream = make_stream()
    others = [rewired(stream, share) for share in (0.2, 0.5)]
    metric = metric_class(node_dim=20, graph_dim=20, score="rows", normalise="reference")
    metric.update(reference=stream)
    for other in others:
        metric.update(generated=other)
    options = {"node_dim": 20, "graph_dim": 20, "score": "rows", "normalise": "reference"}
    expected = sum(compare(stream, other, **options) for other in others) / 2
    value = metric.compute()
    assert value.dtype == torch.float64 and value.ndim == 0
    assert float(value) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("align", ["first_seen", "activity", "sinkhorn"])
def test_every_alignment(metric_class, align):
    stream = make_stream(events=40, nodes=6)
    other = rewired(stream, 0.5)
    metric = metric_class(align=align)
    metric.update(reference=stream, generated=other)
    assert float(metric.compute()) == pytest.approx(compare(stream, other, align=align))


def test_reset_forgets(metric_class):
    stream = make_stream()
    metric = metric_class()
    metric.update(reference=stream, generated=rewired(stream, 0.9))
    metric.reset()
    with pytest.raises(ValueError, match="no reference yet"):
        metric.update(generated=stream)
    metric.update(reference=stream, generated=stream)
    assert float(metric.compute()) == pytest.approx(1.0)
    kept = metric_class(reset_reference=False)
    kept.update(reference=stream)
    kept.reset()
    kept.update(generated=stream)
    assert float(kept.compute()) == pytest.approx(1.0)


def test_a_new_reference_replaces_the_fingerprint_of_the_old(metric_class):
    stream, other = make_stream(), rewired(make_stream(), 0.9)
    metric = metric_class()
    metric.update(reference=stream, generated=stream)
    metric.update(reference=other, generated=other)
    assert float(metric.compute()) == pytest.approx(1.0)


def test_states_survive_half_precision(metric_class):
    stream = make_stream()
    metric = metric_class()
    metric.update(reference=stream, generated=rewired(stream, 0.3))
    before = float(metric.compute())
    model = torch.nn.ModuleList([metric])
    pickled = pickle.loads(pickle.dumps(metric)) if metric_class is JLMetric else metric
    assert float(pickled.compute()) == before
    if metric_class is JLMetric:
        model.half()
        assert float(metric.compute()) == before


def test_flags_and_misuse(metric_class):
    assert metric_class.higher_is_better is True
    assert metric_class.is_differentiable is False
    assert metric_class.full_state_update is False
    metric = metric_class(strict=True)
    with pytest.raises(ValueError, match="nothing to update with"):
        metric.update()
    with pytest.raises(ValueError, match="times go back"):
        metric.update(reference={"src": [0, 1], "dst": [1, 0], "t": [1.0, 0.0]})
    with pytest.raises(ValueError, match="did you mean 'rows'"):
        metric_class(score="row")
    with pytest.raises(ValueError, match="unknown normalise"):
        metric_class(normalise="none")
    with pytest.raises(ValueError, match="node_dim"):
        metric_class(node_dim=-1)
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="nothing to compute"):
        warnings.simplefilter("ignore")
        metric.compute()
    metric.update(reference=make_stream(features=1))
    with pytest.raises(ValueError, match="features|feature"):
        metric.update(generated=make_stream(features=2))


def test_in_a_torchmetrics_collection_and_forward():
    torchmetrics = pytest.importorskip("torchmetrics")
    stream = make_stream()
    other = rewired(stream, 0.5)
    collection = torchmetrics.MetricCollection(
        {"by id": JLMetric(), "as released": JLMetric(score="columns", align="first_seen")}
    )
    collection.update(reference=stream, generated=other)
    found = collection.compute()
    assert float(found["by id"]) == pytest.approx(compare(stream, other))
    metric = JLMetric()
    one = metric(reference=stream, generated=stream)
    two = metric(reference=stream, generated=other)
    assert float(one) == pytest.approx(1.0)
    assert float(two) == pytest.approx(compare(stream, other))
    assert float(metric.compute()) == pytest.approx((float(one) + float(two)) / 2)


def test_evaluator_has_the_released_call_shape():
    stream = make_stream()
    other = rewired(stream, 0.5)
    found = JLEvaluator().eval({"reference": stream, "generated": other})
    released = compare(stream, other, score="columns", align="first_seen")
    assert found == {"JL-Metric": released}
    assert isinstance(found["JL-Metric"], float)
    with pytest.raises(ValueError, match=r"no generated among \['reference'\]; expected a dict"):
        JLEvaluator().eval({"reference": stream})
    with pytest.raises(ValueError, match="unknown score"):
        JLEvaluator(score="x")


def test_without_torch_the_install_line_is_given(monkeypatch):
    import projects.jlmetric.metric as module

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(MissingExtra, match=r"pip install .*\[graph\]"):
        importlib.import_module(module.__name__)
