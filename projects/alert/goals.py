"""What the user asks of every input, and goals that span several inputs (section 2.3, step 2)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from projects.alert.profile import ProfileTable


@dataclass(frozen=True)
class Goals:
    """A deadline, and either an accuracy to reach or an energy to stay within.

    With an accuracy goal energy is minimised, with an energy goal accuracy is maximised
    (section 2.2).

    Parameters
    ----------
    deadline : float
        T_goal, seconds from an input's arrival to its answer, and the period over which energy
        counts.
    accuracy : float, optional
        Q_goal in [0, 1].
    energy : float, optional
        E_goal, joules per period.
    probability : float, optional
        Pr_th: goals hold with this probability, instead of in expectation.

    Raises
    ------
    ValueError
        If a goal is outside its range, or not exactly one of accuracy and energy is given.

    Examples
    --------
    >>> Goals(deadline=0.1, accuracy=0.7).minimises
    'energy'
    """

    deadline: float
    accuracy: float | None = None
    energy: float | None = None
    probability: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.deadline < float("inf"):
            raise ValueError(f"deadline is {self.deadline} s; it must be positive")
        if (self.accuracy is None) == (self.energy is None):
            given = "neither" if self.accuracy is None else "both"
            raise ValueError(
                f"give an accuracy goal (energy is minimised) or an energy goal (accuracy is "
                f"maximised), got {given}"
            )
        if self.accuracy is not None and not 0 <= self.accuracy <= 1:
            raise ValueError(f"accuracy goal is {self.accuracy}; it lies in [0, 1]")
        if self.energy is not None and not 0 < self.energy < float("inf"):
            raise ValueError(f"energy goal is {self.energy} J; it must be positive")
        if self.probability is not None and not 0 < self.probability < 1:
            raise ValueError(f"probability is {self.probability}; it lies between 0 and 1")

    @property
    def minimises(self) -> str:
        """``"energy"`` or ``"error"``."""
        return "energy" if self.energy is None else "error"

    def check(self, profile: ProfileTable, overhead: float = 0.0) -> None:
        """Refuse goals that no candidate could reach on a quiet machine.

        Raises
        ------
        ValueError
            If no candidate has the accuracy, or the overhead leaves no time.
        """
        if self.deadline <= overhead:
            raise ValueError(
                f"deadline {self.deadline:g} s leaves no time after the controller's own "
                f"{overhead:g} s; ask for a longer one"
            )
        best = int(profile.final_accuracy.argmax())
        if self.accuracy is not None and self.accuracy > profile.final_accuracy[best]:
            raise ValueError(
                f"no candidate reaches {self.accuracy:g}; best is "
                f"{profile.final_accuracy[best]:.3g} (model {profile.models[best]})"
            )


@dataclass
class AccuracyWindow:
    """An accuracy goal that holds on average over the last N inputs.

    Parameters
    ----------
    goal : float
        Q_goal of the average.
    length : int
        N.
    low, high : float
        Achievable range, to which the next input's goal is clipped.

    Examples
    --------
    >>> window = AccuracyWindow(0.8, length=2)
    >>> window.record(0.7)
    >>> round(window.target(), 3)
    0.9
    """

    goal: float
    length: int
    low: float = 0.0
    high: float = 1.0
    past: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"goal window of {self.length} inputs; it needs at least one")
        if not self.low <= self.high:
            raise ValueError(f"achievable range {self.low} to {self.high} is empty")
        self.past = deque(self.past, maxlen=self.length - 1)

    def target(self) -> float:
        """Goal of the next input: N Q_goal - sum of the last N - 1 results, clipped."""
        wanted = (len(self.past) + 1) * self.goal - sum(self.past)
        return min(max(wanted, self.low), self.high)

    def record(self, accuracy: float) -> None:
        """Take in what an input reached."""
        self.past.append(accuracy)


def shared_deadline(left: float, items: int, overhead: float = 0.0) -> float:
    """Deadline of the next item of a group, such as a word of a sentence.

    Parameters
    ----------
    left : float
        Seconds left for the group.
    items : int
        Items left in it, the next one included.
    overhead : float
        Seconds that the controller takes.

    Returns
    -------
    float
        (left - overhead) / items. It may be negative: a group that has run over has no deadline
        for its next item, and :class:`Goals` refuses one.

    Raises
    ------
    ValueError
        If no item is left.

    Examples
    --------
    >>> shared_deadline(1.0, items=4)
    0.25
    """
    if items < 1:
        raise ValueError(f"group has {items} items left; there is no next one")
    return (left - overhead) / items
