"""A team of threads in plain Python that take turns: where they change places, a schedule says.

What runs as compiled code on several cores is here the same lines, one thread at a time, so that a
race shows every time that a schedule has it. Wants Numba switched off (NUMBA_DISABLE_JIT=1).
"""

import random
import threading
from functools import partial

from fastnn.targets.cpu import team
from fastnn.targets.cpu.engine import Engine
from fastnn.targets.cpu.step import epoch, sparse_linear

WAITING = ("pause", "give_way", "nap")
# After which operation a thread hands over, beside those in which it waits for the others.
SCHEDULES = {
    "only where it waits": lambda operation: False,
    "after every store": lambda operation: operation == "atomic_store",
    "after every addition": lambda operation: operation == "atomic_add",
    "after every operation": lambda operation: True,
}
MOST_TURNS = 200_000


def at_random(seed):
    """Return a schedule that hands over after one operation of two, or of up to nine."""
    draw, of = random.Random(seed), 2 + seed % 8
    return lambda operation: not draw.randrange(of)


class Turns:
    """Threads of which one runs, until its schedule hands over to the next."""

    def __init__(self):
        self.hands_over = SCHEDULES["only where it waits"]
        self._changed = threading.Condition()
        self._numbers, self._alive, self._running = {}, [], 0
        self._turns, self._errors = 0, []

    def run(self, works):
        """Run `works`, each in a thread of its own, to their ends."""
        self._alive, self._running = list(range(len(works))), 0
        self._turns, self._errors = 0, []
        threads = [
            threading.Thread(target=self._take_part, args=(number, work), daemon=True)
            for number, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if self._errors:
            raise self._errors[0]

    def after(self, operation):
        """Hand over, if the schedule has it so; called by the thread that did the operation."""
        number = self._numbers.get(threading.get_ident())
        if number is not None and (operation in WAITING or self.hands_over(operation)):
            with self._changed:
                self._pass_on(number)
                self._await(number)

    def _take_part(self, number, work):
        self._numbers[threading.get_ident()] = number
        try:
            with self._changed:
                self._await(number)
            work()
        except BaseException as error:
            self._errors.append(error)
        finally:
            del self._numbers[threading.get_ident()]
            with self._changed:
                self._pass_on(number)
                self._alive.remove(number)

    def _pass_on(self, number):
        place = self._alive.index(number)
        self._running = self._alive[(place + 1) % len(self._alive)]
        self._turns += 1
        self._changed.notify_all()

    def _await(self, number):
        self._changed.wait_for(lambda: self._running == number)
        if self._turns > MOST_TURNS:
            raise RuntimeError("the threads wait for each other")


TURNS = Turns()


class Team(Engine):
    """The CPU target with as many threads as are asked for, which take `TURNS`."""

    def _choose_threads(self, X=None):
        return self._asked

    def _run(self, train, *_):
        TURNS.run([partial(train, seat) for seat in range(self.threads)])


def hook():
    """Have a team hand over after its operations on what threads share, and where it waits."""

    def scheduled(function, operation):
        def then_hands_over(*arguments):
            result = function(*arguments)
            TURNS.after(operation)
            return result

        return then_hands_over

    for name in WAITING:
        setattr(team, name, scheduled(lambda: None, name))
    for name in ("atomic_add", "atomic_load", "atomic_store"):
        for module in (team, epoch, sparse_linear):
            setattr(module, name, scheduled(getattr(module, name), name))
