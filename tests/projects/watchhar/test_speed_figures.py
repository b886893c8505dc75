import pandas as pd
from matplotlib.figure import Figure

from projects.watchhar import speed_figures


def test_breakdown_stacks_the_medians():
    stages = ("front end", "network", "sound encoder", "motion encoder", "fusion and head", "total")
    variants = ("separate, librosa", "separate, numpy", "unified graph")
    rows = [(v, s, 1.0 + k) for v in variants for s in stages for k in range(3)]
    frame = pd.DataFrame(rows, columns=["variant", "stage", "value"]).assign(metric="latency")
    figure = speed_figures.speed(frame)
    assert isinstance(figure, Figure)
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == [2.0] * (2 + 2 + 2 + 4)


def test_chips_are_drawn_with_their_range_and_the_published_time():
    rows = [
        {"variant": v, "part": p, "precision": q, "value": 2e-3, "low": 1e-3, "high": 4e-3}
        for v in ("classifier", "event detector")
        for p in ("w5", "x86")
        for q in ("fp32", "int8")
    ]
    program = {**rows[-1], "format": "executorch", "part": "x86"}
    frame = pd.DataFrame([*rows, program]).fillna({"format": "onnx"})
    figure = speed_figures.wearable(frame.assign(metric="latency", measurement="modelled"))
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert sorted(legend) == ["ExecuTorch int8", "fp32", "int8"]
    lines = [line.get_xdata() for line in figure.axes[0].lines]
    assert [list(map(float, line)) for line in lines].count([1.0, 4.0]) == 4
    assert [11.8, 11.8] in [list(line) for line in lines]


def test_counts_are_stacked_beside_the_whole():
    counts = {"front end": 0.5, "front end, C": 0.25, "network": 16, "classifier": 16.4}
    counts["separate, C"] = 16.25
    frame = pd.DataFrame({"variant": counts.keys(), "value": [1e6 * n for n in counts.values()]})
    frame = frame.assign(metric="instructions", precision="fp32")
    (ax,) = speed_figures.instructions(frame).axes
    assert [patch.get_width() for patch in ax.patches] == [0.25, 16.0, 0.5, 16.0]
    lines = [path[0, 0] for lines in ax.collections for path in lines.get_segments()]
    assert lines == [16.25, 16.4]
    without = frame[frame["variant"] == "classifier"]
    assert speed_figures.instructions(without).axes, "says that nothing was counted"


def test_precisions_are_placed_by_size():
    sizes = [
        {"variant": v, "metric": "bytes", "value": b} for v, b in (("fp32", 8e6), ("int8", 2e6))
    ]
    shares = [
        {"variant": v, "metric": "accuracy", "value": 0.8 + k / 10, "dataset": "d", "item": str(k)}
        for v in ("fp32", "int8")
        for k in range(2)
    ]
    figure = speed_figures.precision(pd.DataFrame(sizes + shares))
    places = {line.get_label(): line.get_xdata()[0] for line in figure.axes[0].lines}
    assert places["fp32"] == 8.0 and places["int8"] == 2.0
