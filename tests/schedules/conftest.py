"""The learning rates of PyTorch's schedulers."""

import pytest


@pytest.fixture
def torch_rates():
    """A function from a scheduler's class, its options and a number of steps to the learning rate at each step."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")

    def rates(name, start, steps, **options):
        optimizer = torch.optim.SGD([torch.zeros(1, dtype=torch.float64, requires_grad=True)], lr=start)
        scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
        found = []
        for _ in range(steps):
            found.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        return found

    return rates
