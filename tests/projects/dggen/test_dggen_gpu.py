"""The same model on a GPU."""

import numpy as np
import pytest

from common.graphs.events import EventStream
from projects.dggen import DGGen


@pytest.mark.gpu
@pytest.mark.parametrize("num_sampled", [None, 4])
def test_a_gpu_trains_scores_and_samples_and_its_checkpoint_opens_on_a_cpu(tmp_path, num_sampled):
    rng = np.random.default_rng(0)
    events = EventStream.of(
        {
            "src": rng.integers(0, 20, 300),
            "dst": rng.integers(20, 40, 300),
            "t": np.cumsum(rng.integers(0, 9, 300)),
            "msg_0": rng.normal(size=300),
        }
    )
    sizes = {"embedding_dim": 16, "memory_dim": 16, "time_dim": 8, "batch_size": 50, "epochs": 2}
    settings = {**sizes, "noise": 0.1, "num_sampled": num_sampled}
    model = DGGen(**settings, device="cuda").fit(events[:200], events[200:250], progress=False)
    terms = model.log_prob(events[250:])
    model.save(tmp_path)
    again = DGGen.load(tmp_path, device="cpu").log_prob(events[250:])
    assert again.to_numpy() == pytest.approx(terms.to_numpy(), abs=1e-3)
    assert len(model.sample(30, num_new_nodes=3)) == 30
    missing = np.zeros((50, 1), dtype=bool)
    missing[::2] = True
    assert np.isfinite(model.impute(events[250:], missing).msg).all()
