"""Ranks that share one measurement: units of work dealt from a counter, without collectives.

Rank 0 leads: it opens the measurement, says which units are left, takes its share of them and finishes the file. The
others take units until it ends the measurement. Nobody waits in a collective while units run apart, so that no time-out
of a backend can strike; who waits looks at the store again and again.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

from torch import distributed
from torch.distributed import distributed_c10d

from foundation import endings
from foundation.errors import InputError, LandscapeError, LostProcessError

Options = ParamSpec("Options")
Result = TypeVar("Result")

POLL, LONGEST_POLL = 0.02, 1.0
"""Seconds between two looks at the store for each rank that looks, and at most."""
LOST = "another process of this run has ended: the work so far is kept, the same command continues it"


class Team:
    """The ranks of one measurement after the other; all of them ask for the same measurements in the same order.

    Args:
        store: What all of them read and write.
        rank: This process's number.
        size: How many there are.

    Attributes:
        rank: As given.
        size: As given.
    """

    def __init__(self, store: distributed_c10d.Store, rank: int, size: int) -> None:
        self._store, self.rank, self.size = store, rank, size
        self._scopes: list[str] = []

    @property
    def leads(self) -> bool:
        """Whether this is the rank that opens and finishes measurements."""
        return self.rank == 0

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """The block is one measurement; the others leave it when rank 0 has, or when it failed anywhere.

        Yields:
            Nothing.

        Raises:
            LandscapeError: What another rank raised.
            LostProcessError: Another rank has ended, as far as that can be seen.
        """
        with _reached():
            number = self._store.add(f"landscape/measurements of {self.rank}", 1)  # the same on all of them
        self._scopes.append(f"landscape/{number}")
        try:
            yield
            if self.leads:
                self._set("end", "")
            else:
                self._wait_for("end")
        except LostProcessError:
            raise
        except BaseException as error:
            known = error if isinstance(error, LandscapeError) else LostProcessError(LOST)
            with contextlib.suppress(LostProcessError):
                self._set("failed", json.dumps([known.exit_code, str(known)]))
            raise
        finally:
            self._scopes.pop()

    def dealt(
        self, units: Sequence[Any], sizes: Sequence[int] | None = None, advance: Callable[[int], None] | None = None
    ) -> Iterator[Any]:
        """Units of work that the ranks share, asked for by rank 0; ends when all are done, by whomever.

        Args:
            units: What is left to do, the longest first; JSON types.
            sizes: How much work each is; 1 by default.
            advance: Told now and then how much more has been done.

        Yields:
            Those that this rank is to do; asking for the next says that the last is done and kept.
        """
        number = self._add("rounds", 0)
        self._set(f"units {number}", json.dumps(list(units)))
        self._add("rounds", 1)
        done, said, sizes = 0, 0, sizes or [1] * len(units)
        taken = self._taken(units, number)
        while done < len(units):
            if (unit := next(taken, None)) is not None:
                yield unit
            else:
                self._pause()
            done = self._add(f"done {number}", 0)
            if advance is not None:
                advance(sum(sizes[:done]) - said)
            said = sum(sizes[:done])

    def offered(self) -> Iterator[Any] | None:
        """The units that rank 0 deals to this rank, until it ends the measurement.

        Returns:
            Units as of `dealt`, None where there are none. The first is this rank's already, so that the measurement
            stays open for it.
        """
        units = self._offered()
        first = next(units, None)
        return None if first is None else itertools.chain([first], units)

    def _offered(self) -> Iterator[Any]:
        number = 0
        while not self._there("end"):
            if self._add("rounds", 0) > number:
                yield from self._taken(json.loads(self._get(f"units {number}")), number)
                number += 1
            else:
                self._pause()

    def _taken(self, units: Sequence[Any], number: int) -> Iterator[Any]:
        while (place := self._add(f"next {number}", 1) - 1) < len(units):
            yield units[place]
            self._add(f"done {number}", 1)

    def _wait_for(self, key: str) -> None:
        while not self._there(key):
            self._pause()

    def _pause(self) -> None:
        """A moment of waiting, in which signals and failures of others are seen."""
        endings.look()
        for scope in self._scopes:
            if self._there("failed", scope):
                code, sentence = json.loads(self._get("failed", scope))
                kinds = {InputError.exit_code: InputError}
                raise LostProcessError(LOST) if sentence == LOST else kinds.get(code, LandscapeError)(sentence)
        time.sleep(min(POLL * self.size, LONGEST_POLL))

    def _there(self, key: str, scope: str | None = None) -> bool:
        with _reached():
            return bool(self._store.check([self._named(key, scope)]))

    def _get(self, key: str, scope: str | None = None) -> bytes:
        with _reached():
            return bytes(self._store.get(self._named(key, scope)))

    def _set(self, key: str, value: str) -> None:
        with _reached():
            self._store.set(self._named(key), value)

    def _add(self, key: str, amount: int) -> int:
        with _reached():
            return int(self._store.add(self._named(key), amount))

    def _named(self, key: str, scope: str | None = None) -> str:
        return f"{scope or self._scopes[-1]}/{key}"


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """A store that cannot be reached is gone with the process that kept it."""
    try:
        yield
    except distributed.DistError as error:
        raise LostProcessError(LOST) from error


def shared(record: Callable[Options, Result]) -> Callable[Options, Result]:
    """Makes what records a measurement one `Team.measuring` of the ranks that it is given as `team`, if any."""

    @functools.wraps(record)
    def together(*arguments: Options.args, **options: Options.kwargs) -> Result:
        team = options.get("team")
        with team.measuring() if isinstance(team, Team) else contextlib.nullcontext():
            return record(*arguments, **options)

    return together


def present_team() -> Team | None:
    """The ranks of this process's default group; None where it is alone."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return None
    store = distributed_c10d._get_default_store()
    return Team(store, distributed.get_rank(), distributed.get_world_size())
