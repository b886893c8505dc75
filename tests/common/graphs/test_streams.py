"""The registered streams have the counts of their sources; the stand-in has its statistics."""

from types import SimpleNamespace

import numpy as np
import pytest

from common.data import resolve
from common.errors import ConfigError
from common.graphs.streams import SOURCES, edit_stream, load_streams, with_features


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "events", "nodes", "bipartite"),
    [
        ("wikipedia", 157_474, 9_227, True),
        ("wikipedia-50h", 2_980, 1_616, True),
        ("uci", 33_837, 1_899, False),
        ("bitcoin-otc", 35_592, 5_881, False),
    ],
)
def test_real_streams(name, events, nodes, bipartite):
    source = SOURCES[name]
    stream = source.read(resolve("temporal-graphs", files=[source.file]).files[source.file])
    assert (len(stream), len(stream.nodes), stream.bipartite) == (events, nodes, bipartite)
    assert (np.diff(stream.t) >= 0).all()
    if name == "bitcoin-otc":
        assert (stream.msg == 1).sum() == 20_048 and (stream.msg == -10).sum() == 2_413


def test_stand_in_repeats_pairs_as_often_as_wikipedia():
    stream = edit_stream(np.random.default_rng(0), 5000)
    distinct = len(set(zip(stream.src, stream.dst, strict=True)))
    assert 1 - distinct / len(stream) == pytest.approx(0.88, abs=0.02)
    assert stream.bipartite and np.diff(stream.t).mean() == pytest.approx(17, rel=0.1)


def test_features_depend_on_both_ends():
    base = edit_stream(np.random.default_rng(0), 2000)
    stream = with_features(base, np.random.default_rng(1), 3)
    assert stream.num_features == 3 and (stream.src == base.src).all()
    between = np.var([stream.msg[stream.src == user, 0].mean() for user in np.unique(base.src)])
    assert between > 0.3  # 0.36 from the user alone


class _Run(SimpleNamespace):
    def dataset(self, name, *, label, files, alias):
        self.asked.append((name, files, alias))

    def synthetic(self, name, description):
        self.declared.append(name)

    def rng(self, *key):
        return np.random.default_rng(len(key))


def test_missing_streams_become_declared_stand_ins():
    run = _Run(asked=[], declared=[])
    streams = load_streams(run, ["uci", "bitcoin-otc"], stand_ins=2)
    assert [alias for _, _, alias in run.asked] == ["uci", "bitcoin-otc"]
    assert run.declared == [stream.name for stream in streams] and len(streams) == 2


def test_unknown_stream_names_the_closest():
    with pytest.raises(ConfigError, match="bitcoin-otc"):
        load_streams(_Run(asked=[], declared=[]), ["bitcoin"])
