"""A network with its ONNX graphs per stage: the exporter is slow, so several files share one."""

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
def width(trained, shape, tmp_path_factory):
    from projects.osgd.export import export_stages
    from projects.osgd.width import WidthNestedCNN

    model = trained(WidthNestedCNN(widths=(4, 8, 12), strides=(2, 1, 2)))
    return model, export_stages(model, tmp_path_factory.mktemp("width"), shape)
