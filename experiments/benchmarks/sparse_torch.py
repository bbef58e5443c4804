"""torch's SparseAdam, on gradients of rows that are there, and in a whole train step."""

import itertools
from typing import Any

import numpy as np
import torch


class SparseUpdate:
    """`torch.optim.SparseAdam` from sparse gradients as an embedding leaves them: rows may stand there twice."""

    def __init__(self, rows: int, width: int, batches: list[np.ndarray], values: np.ndarray, rate: float) -> None:
        self.table = torch.nn.Parameter(torch.zeros(rows, width))
        shape, numbers = (rows, width), torch.from_numpy(values.copy())
        self.grads = itertools.cycle(
            [
                torch.sparse_coo_tensor(
                    torch.from_numpy(ids.astype(np.int64))[None], numbers, shape, check_invariants=True
                )
                for ids in batches
            ]
        )
        self.optimizer = torch.optim.SparseAdam([self.table], lr=rate)

    def take(self) -> None:
        self.table.grad = next(self.grads)
        self.optimizer.step()


class SparseTraining:
    """A train step of the same model: SparseAdam for the table, Adam for the rest."""

    def __init__(self, rows: int, width: int, examples: list[np.ndarray], clicked: np.ndarray, rate: float) -> None:
        fields = examples[0].shape[1]
        self.embed = torch.nn.Embedding(rows, width, sparse=True)
        self.network = torch.nn.Sequential(torch.nn.Linear(fields * width, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
        self.examples = itertools.cycle([torch.from_numpy(ids.astype(np.int64)) for ids in examples])
        self.clicked = torch.from_numpy(clicked.copy())
        self.optimizers: list[Any] = [
            torch.optim.SparseAdam(self.embed.parameters(), lr=rate),
            torch.optim.Adam(self.network.parameters(), lr=rate, fused=True),
        ]

    def take(self) -> None:
        looked = self.embed(next(self.examples)).flatten(1)
        outputs = self.network(looked)[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(outputs, self.clicked)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
