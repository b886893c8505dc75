"""Networks with their ONNX graphs: the exporter is slow, so all files share one pass."""

import pytest


@pytest.fixture(scope="session")
def shape():
    return (3, 16, 16)


@pytest.fixture(scope="session")
def trained(shape):
    """Give a network statistics and scales as after some training."""
    import torch

    def train(model):
        torch.manual_seed(0)
        model.train()
        with torch.no_grad():
            for _ in range(3):
                model(torch.randn(8, *shape))
            for name, value in model.named_parameters():
                if name.endswith("weight") and value.dim() == 1:
                    value.uniform_(0.5, 1.5)
        return model

    return train


@pytest.fixture(scope="session")
def exported(trained, shape, tmp_path_factory):
    """Networks by name, and what ``export_together`` made of them."""
    from torch import nn

    from projects.osgd.depth import DepthNestedCNN
    from projects.osgd.export import export_together
    from projects.osgd.matryoshka import MatryoshkaHeads
    from projects.osgd.width import WidthNestedCNN

    embedding = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8))
    networks = {
        "width": trained(WidthNestedCNN(widths=(4, 8, 12), strides=(2, 1, 2))),
        "depth": trained(DepthNestedCNN(channels=(4, 8), num_stages=2)),
        "embedding": MatryoshkaHeads(embedding, sizes=(2, 4, 8)),
        "plain": trained(WidthNestedCNN(widths=(5,), strides=(2,))),
    }
    return networks, export_together(networks, tmp_path_factory.mktemp("exported"), shape)


@pytest.fixture(scope="session")
def width(exported):
    networks, graphs = exported
    return networks["width"], graphs["width"].manifest
