"""The models that ship make the errors that their cards claim."""

from kd_core.data import paths
from kd_core.exchange import shipped


def test_the_shipped_mnist_models_make_the_errors_that_they_claim(mnist):
    found = list(shipped.verify())
    assert [one for one in found if not one.holds] == []
    assert paths.available("mnist")
    errors = {one.name: one.measured for one in found}
    assert errors["mnist-distilled"] < errors["mnist-baseline"]
