"""Two quadratic losses whose constrained minimiser is known in closed form.

L_k(w) = 1/2 (w - a_k)^T H_k (w - a_k). H_1 has rank r < P, so its minimisers are the plane
a_1 + null(H_1), and the point of that plane with the smallest L_2 is what a method reaches that
gives the first task all it wants and the second one what remains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Methods for which the sum of several problems is each problem alone.
APART = ("joint", "osgd", "osgd normalised", "osgd reversed")


@dataclass(frozen=True)
class QuadraticTasks:
    """Two quadratic losses.

    Attributes
    ----------
    hessians : ndarray, shape (2, P, P)
        Positive semi-definite H_1 and positive definite H_2.
    centres : ndarray, shape (2, P)
        Minimisers a_1 and a_2.
    """

    hessians: np.ndarray
    centres: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator, size: int = 12, rank: int = 4) -> QuadraticTasks:
        """Draw a problem whose non-zero curvatures lie between 0.5 and 1.

        Raises
        ------
        ValueError
            If the rank leaves no plane of minimisers.
        """
        if not 1 <= rank < size:
            raise ValueError(f"rank={rank} of {size}: at least 1 and less than the size")
        curvatures = rng.uniform(0.5, 1.0, (2, size))
        curvatures[0, rank:] = 0.0
        bases = np.linalg.qr(rng.normal(size=(2, size, size)))[0]
        hessians = np.einsum("kij,kj,klj->kil", bases, curvatures, bases)
        return cls(hessians, rng.normal(size=(2, size)))

    def losses(self, w: np.ndarray) -> np.ndarray:
        """Both losses of a point, shape (2,).

        Examples
        --------
        >>> problem = QuadraticTasks(np.stack([np.eye(2)] * 2), np.array([[0.0, 0.0], [1.0, 0.0]]))
        >>> problem.losses(np.array([0.0, 2.0])).tolist()
        [2.0, 2.5]
        """
        apart = w - self.centres
        return 0.5 * np.einsum("ki,kij,kj->k", apart, self.hessians, apart)

    def constrained_minimiser(self) -> np.ndarray:
        """The minimiser of L_2 among those of L_1, shape (P,).

        With a basis Z of null(H_1) it is a_1 + Z z where Z^T H_2 Z z = Z^T H_2 (a_2 - a_1).
        """
        values, vectors = np.linalg.eigh(self.hessians[0])
        z = vectors[:, values < 1e-9 * values.max()]
        projected = z.T @ self.hessians[1]
        return self.centres[0] + z @ np.linalg.solve(
            projected @ z, projected @ (self.centres[1] - self.centres[0])
        )


def descend(
    problems: Sequence[QuadraticTasks], method: str, steps: int, lr: float = 0.5
) -> np.ndarray:
    """Where a method ends after steps of a falling rate, from the origin.

    Problems side by side are as if each were alone: every one has a parameter of its own, and a
    method that would mix them takes them one by one.

    Parameters
    ----------
    problems : sequence of QuadraticTasks
        M problems of one size P.
    method : str
        One of :data:`projects.osgd.baselines.METHODS`.
    steps : int
        Number of steps; the rate falls as a cosine to 0.
    lr : float
        Rate of the first step.

    Returns
    -------
    ndarray, shape (M, P)
    """
    import torch

    from projects.osgd.baselines import optimizer
    from projects.osgd.training import Recipe

    if len(problems) > 1 and method not in APART:
        return np.concatenate([descend([problem], method, steps, lr) for problem in problems])
    hessians = torch.from_numpy(np.stack([problem.hessians for problem in problems]))
    centres = torch.from_numpy(np.stack([problem.centres for problem in problems]))
    points = [torch.zeros_like(each[0]).requires_grad_() for each in centres]
    base, recipe = torch.optim.SGD(points, lr=lr), Recipe()
    descent = optimizer(method, base, 2)
    for step in range(steps):
        base.param_groups[0]["lr"] = lr * recipe.rate(step / steps)
        apart = torch.stack(points).unsqueeze(1) - centres
        losses = 0.5 * (apart.unsqueeze(2) @ hessians @ apart.unsqueeze(3)).sum((0, 2, 3))
        descent.zero_grad()
        descent.step(list(losses))
    return torch.stack(points).detach().numpy()
