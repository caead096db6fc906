"""What is done at once, locks in forked children, and turns that interrupted calls leave behind."""

import gc
import os
import sys
import threading
import weakref
from functools import partial

import pytest

from fastnn.threads import atomic
from fastnn.threads.atomic import Turn, at_once, new_lock


def test_all_is_done_in_order():
    values, record = [1], {}
    at_once([partial(values.append, 2), partial(record.__setitem__, "a", 3), values.reverse])
    assert (values, record) == ([2, 1], {"a": 3})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
@pytest.mark.parametrize("owner", ["another thread", "the thread that forks"])
def test_a_lock_of_another_thread_is_free_in_a_forked_child(owner):
    lock, taken, ended = new_lock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            ended.wait(10)

    thread = threading.Thread(target=hold)
    if owner == "another thread":
        thread.start()
        taken.wait(10)
    else:
        lock.acquire()
    child = os.fork()
    if child == 0:
        free = threading.Thread(target=lambda: os._exit(lock.acquire(timeout=0.5)))
        free.start()
        free.join()
    ended.set()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (owner == "another thread")
    if thread.ident:
        thread.join()


def test_a_turn_is_one_calls_at_a_time():
    turn = Turn()

    def call(inside):
        token = object()
        got = turn.take(token)
        try:
            return got, inside()
        finally:
            if got:
                turn.give_back()

    def elsewhere():
        found = []
        thread = threading.Thread(target=lambda: found.append(call(bool)))
        thread.start()
        thread.join()
        return found[0]

    assert call(lambda: call(bool)) == (True, (False, False))
    assert call(elsewhere) == (True, (False, False))
    assert elsewhere() == (True, False)


def test_a_turn_that_was_not_given_back_is_free_when_its_call_is_over():
    turn = Turn()

    def interrupted():
        token = object()
        assert turn.take(token)
        raise KeyboardInterrupt

    kept = None
    try:
        interrupted()
    except KeyboardInterrupt as error:
        kept = error  # and with it the frame of the call
    assert sys.getrefcount(kept) and gc.isenabled()
    assert interrupted_again(turn)


def interrupted_again(turn):
    token = object()
    return turn.take(token)


def test_a_later_call_of_the_same_function_at_the_same_address_does_not_have_the_turn():
    turn = Turn()

    def call(takes, inside=bool):
        token = object()
        return (turn.take(token) if takes else id(sys._getframe())), inside()

    assert call(True) == (True, False)  # and does not give it back
    _, inner = call(False, lambda: call(True))
    assert inner == (True, False)


def test_a_turn_keeps_nothing_that_its_call_works_on():
    class Data:
        pass

    turn = Turn()

    def call(data):
        token = object()
        assert turn.take(token)
        return weakref.ref(data)

    data = call(Data())
    assert data() is None


def test_locks_are_forgotten_with_what_has_them():
    before = len(atomic._locks)
    locks = [new_lock() for _ in range(10)]
    assert len(atomic._locks) == before + 10
    del locks
    assert len(atomic._locks) == before
