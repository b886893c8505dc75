"""Event streams: every form of input, every bad input."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from common.graphs.events import EventStream

GOOD = {"src": [0, 1, 0], "dst": [2, 2, 3], "t": [1, 4, 4], "msg_a": [0.5, 1, 2]}


def test_frame_mapping_csv_and_temporal_data_give_the_same_stream(tmp_path):
    frame = pd.DataFrame(GOOD)
    frame.to_csv(tmp_path / "s.csv", index=False)
    streams = [EventStream.of(GOOD), EventStream.of(frame), EventStream.of(tmp_path / "s.csv")]
    pytest.importorskip("torch_geometric")
    streams.append(EventStream.of(streams[0].to_temporal_data()))
    for stream in streams:
        assert stream.src.tolist() == [0, 1, 0] and stream.dst.tolist() == [2, 2, 3]
        assert stream.t.tolist() == [1, 4, 4] and stream.msg[:, 0].tolist() == [0.5, 1, 2]
    assert streams[2].name == "s" and streams[0].columns == ("msg_a",)


def test_frame_round_trip():
    stream = EventStream.of(GOOD)
    again = EventStream.of(stream.to_frame())
    assert again.columns == stream.columns and (again.msg == stream.msg).all()


def test_properties():
    stream = EventStream.of(GOOD)
    assert (len(stream), stream.num_nodes, stream.num_features) == (3, 4, 1)
    assert stream.bipartite and stream.nodes.tolist() == [0, 1, 2, 3]
    assert not EventStream.of({**GOOD, "dst": [2, 0, 3]}).bipartite
    assert stream.shifted(10).t.tolist() == [10, 13, 13]
    assert [len(part) for part in stream.split(1 / 3, 1 / 3)] == [1, 1, 1]
    assert stream[:0].num_nodes == 0


def test_unsorted_events_are_sorted_stably_or_refused():
    bad = {**GOOD, "t": [4, 1, 1]}
    with pytest.warns(UserWarning, match="event 1"):
        stream = EventStream.of(bad)
    assert stream.t.tolist() == [1, 1, 4] and stream.msg[:, 0].tolist() == [1, 2, 0.5]
    with pytest.raises(ValueError, match=r"event 1: 4\.0 -> 1\.0"):
        EventStream.of(bad, sort=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"src": [0, -1, 2]}, "negative node id, -1 at event 1"),
        ({"dst": [0, 1.5, 2]}, "integers"),
        ({"dst": ["a", "b", "c"]}, "integers"),
        ({"t": [0, np.nan, 2]}, "t is not finite in 1 events, first at 1"),
        ({"msg_a": [0, 1, np.inf]}, "msg is not finite in 1 events, first at 2"),
    ],
)
def test_bad_values(change, message):
    with pytest.raises(ValueError, match=message):
        EventStream.of({**GOOD, **change})


def test_bad_shapes_and_kinds(tmp_path):
    with pytest.raises(ValueError, match="1 dimension"):
        EventStream.of({"src": [0], "dst": [1], "t": [0], "msg": np.ones(1)})
    with pytest.raises(ValueError, match="one entry per event"):
        EventStream.of({"src": [0], "dst": [1], "t": [0, 1], "msg": np.ones((1, 1))})
    with pytest.raises(ValueError, match="no column t"):
        EventStream.of({"src": [0], "dst": [1]})
    with pytest.raises(TypeError, match="static graph"):
        EventStream.of(SimpleNamespace(x=1, edge_index=2))
    (tmp_path / "e.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has no column src, dst, t"):
        EventStream.of(tmp_path / "e.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="not a CSV file"):
        EventStream.of(tmp_path / "empty.csv")


def test_no_events_are_a_stream_too():
    stream = EventStream.of({"src": [], "dst": [], "t": []})
    assert len(stream) == 0 and stream.num_nodes == 0


def test_no_features_must_be_asked_for():
    data = SimpleNamespace(src=np.array([0]), dst=np.array([1]), t=np.array([0]), msg=None)
    with pytest.raises(ValueError, match="zero_features=True"):
        EventStream.of(data)
    assert EventStream.of(data, zero_features=True).num_features == 0


def test_float32_unix_seconds_are_pointed_out():
    data = {**GOOD, "t": np.array([1.6e9, 1.6e9, 1.7e9], dtype=np.float32)}
    with pytest.warns(UserWarning, match="float32"):
        EventStream.of(data)
