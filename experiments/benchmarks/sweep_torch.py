"""The sweep without this library: Optuna's grid over a plain loop of torch's."""

from typing import Any

import optuna
import torch

CLASSES = 10


def losses(rates: list[float], splits: dict[str, Any], hidden: int, table: Any) -> list[float]:
    """The last validation losses of an MLP trained by Adam, by rate.

    Args:
        rates: the learning rates.
        splits: pairs of inputs and targets by name, as a task of the lab has them.
        hidden: the width.
        table: the numbers `steps`, `batch` and `evaluate_every`.
    """
    inputs, targets, held_inputs, held_targets = (
        tensor
        for name in ("train", "validation")
        for tensor in (torch.from_numpy(splits[name][0]).flatten(1), torch.from_numpy(splits[name][1]).long())
    )
    torch.set_num_threads(1)  # a second one costs more than it brings to a network of this size
    criterion = torch.nn.CrossEntropyLoss()

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(trial.number)
        features = inputs.shape[1]
        net = torch.nn.Sequential(torch.nn.Linear(features, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, CLASSES))
        rate = trial.suggest_float("rate", min(rates), max(rates), log=True)
        optimizer, step, loss = torch.optim.Adam(net.parameters(), lr=rate, fused=True), 0, float("nan")
        while True:
            for rows in torch.randperm(len(inputs)).split(table.batch)[: len(inputs) // table.batch]:
                optimizer.zero_grad()
                criterion(net(inputs[rows]), targets[rows]).backward()
                optimizer.step()
                step += 1
                if step % table.evaluate_every == 0:
                    with torch.no_grad():
                        loss = criterion(net(held_inputs), held_targets).item()
                    trial.report(loss, step)
                if step == table.steps:
                    return loss

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"rate": rates}, seed=0))
    study.optimize(objective)
    values = {trial.params["rate"]: trial.value for trial in study.trials}
    return [values[rate] for rate in rates]
