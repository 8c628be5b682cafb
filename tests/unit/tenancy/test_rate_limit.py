"""The laws of rolling windows, against an exact log of every admission."""

from bisect import bisect_right
from copy import deepcopy
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caio.tenancy.rate_limit import BLOCKS, DAY, HOUR, MINUTE, Full, RollingWindow, Windows

SPAN = 60  # short, so that arrivals meet its edges to the microsecond
limits = st.one_of(st.integers(1, 30), st.integers(99, 101), st.integers(199, 500))
seeds = st.integers(0, 2**32)
# Without shrinking: a replay is as telling at any seed, and hunting for a smaller one takes minutes.
some = settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def replay(limit, seed, calls=600):
    """Yield (window, exact log before the call, now, admitted) for each arrival.

    About twice the limit arrives per span, in bursts with gaps of every size, so that the window is
    full most of the time and refusals and expiries meet.
    """
    rng = Random(seed)
    log: list[int] = []
    window, now = RollingWindow("test", limit, SPAN), 0
    for _ in range(calls + 4 * limit):
        if rng.random() < 5 / limit:
            now += rng.choice((1, 1, 1, 2, 3, rng.randint(1, SPAN)))
        admitted = window.wait(now) == 0
        yield window, log, now, admitted
        if admitted:
            window.take(now)
            log.append(now)


def exact(log, now, span=SPAN):
    return len(log) - bisect_right(log, now - span)


def later(window, now):
    """What ``window`` would answer at ``now``, without letting it forget anything."""
    return RollingWindow("copy", window.limit, window.span, window.used, window._blocks.copy()).wait(now)


def blocks_of(window):
    return len(window._blocks)


@some
@given(limits, seeds)
def test_never_over_admits(limit, seed):
    full = 0
    for _, log, now, admitted in replay(limit, seed):
        assert not admitted or exact(log, now) < limit
        full += not admitted
    assert full > 0


@some
@given(limits, seeds)
def test_never_refuses_below_98_percent(limit, seed):
    for _, log, now, admitted in replay(limit, seed):
        assert admitted or exact(log, now) >= 0.98 * limit


@some
@given(limits, seeds)
def test_refusals_cost_nothing(limit, seed):
    """Asking, once or a hundred times, and being refused changes no later answer."""
    asked, silent = RollingWindow("a", limit, SPAN), RollingWindow("b", limit, SPAN)
    rng, now = Random(seed), 0
    for _ in range(600):
        now += rng.choice((0, 0, 0, 1, SPAN // 2))
        for _ in range(rng.choice((1, 3))):
            asked.wait(now)
        if rng.random() < 0.7:
            wait = asked.wait(now)
            assert wait == silent.wait(now)
            if not wait:
                asked.take(now)
                silent.take(now)


@some
@given(limits, seeds)
def test_waiting_as_told_is_enough(limit, seed):
    for window, _, now, admitted in replay(limit, seed, calls=200):
        if not admitted:
            wait = later(window, now)
            assert 0 < wait <= SPAN
            assert later(window, now + wait) == 0
            assert later(window, now + wait - 1) == 1


@settings(some, max_examples=15)
@given(st.integers(1, 1_000), st.integers(1, 1_000))
def test_memory_is_bounded(limit, changed):
    """Full from end to end, also after the limit was changed or a restart brought more than it allows."""
    window = Windows([RollingWindow("test", limit, SPAN)])
    for bound in (limit, changed):
        window = Windows([RollingWindow("test", bound, SPAN)]).continuing(window)
        [inner] = window.windows
        for now in range(window._latest, window._latest + 2 * SPAN):
            for _ in range(bound // SPAN + 1):
                if window.full(now) is None:
                    window.take(now)
            assert blocks_of(inner) <= 2 * BLOCKS + 1
    for at in range(window._latest, window._latest + 5_000):
        window.restore(at // 100)
        assert blocks_of(inner) <= 2 * BLOCKS + 1


@some
@given(seeds)
def test_all_or_nothing(seed):
    """Of three windows over the same calls, none takes a unit that another refuses."""
    spans = {"short": (3, 10), "middle": (5, 30), "long": (8, 90)}
    log: list[int] = []
    rng, now = Random(seed), 0
    windows = Windows([RollingWindow(name, limit, span) for name, (limit, span) in spans.items()])
    blamed = set()
    for _ in range(800):
        now += rng.choice((0, 1, 2, 5, 20))
        refusal = windows.full(now)
        counts = {name: exact(log, now, span) for name, (_, span) in spans.items()}
        assert (refusal is None) == all(counts[name] < limit for name, (limit, _) in spans.items())
        if refusal is None:
            windows.take(now)
            log.append(now)
        else:
            assert counts[refusal.window] == spans[refusal.window][0]
            blamed.add(refusal.window)
    assert blamed


def test_the_longest_wait_is_told():
    windows = Windows(
        [RollingWindow("minute", 1, MINUTE), RollingWindow("day", 1, DAY), RollingWindow("hour", 1, HOUR)]
    )
    windows.take(5)
    assert windows.full(5) == Full("day", 1, DAY)
    assert windows.full(5 + HOUR) == Full("day", 1, 23 * HOUR)
    assert windows.full(5 + DAY) is None


@pytest.mark.parametrize(("later", "seconds"), [(0, 60), (1, 60), (59_000_000, 1), (59_000_001, 1), (59_999_999, 1)])
def test_waits_are_whole_seconds_rounded_up(later, seconds):
    windows = Windows([RollingWindow("minute", 1, MINUTE)])
    windows.take(1)
    refusal = windows.full(1 + later)
    assert refusal is not None
    assert refusal.retry_after == seconds


def test_a_clock_that_steps_back_lends_nothing():
    windows = Windows([RollingWindow("minute", 2, MINUTE)])
    windows.take(MINUTE)
    windows.take(3)  # counts as at MINUTE
    assert windows.full(3) == Full("minute", 2, MINUTE)
    assert windows.full(2 * MINUTE - 1) == Full("minute", 2, 1)
    assert windows.full(2 * MINUTE) is None


def test_no_windows_refuse_nothing():
    windows = Windows([])
    windows.take(1)
    assert windows.full(1) is None


@some
@given(st.integers(1, 20), st.lists(st.integers(0, 3 * SPAN), max_size=60).map(sorted))
def test_a_restart_lends_no_fresh_quota(limit, times):
    """What was admitted before counts, even if it is more than the limit is now, until enough has left."""
    windows = Windows([RollingWindow("test", limit, SPAN)])
    for at in times:
        windows.restore(at)
    now = times[-1] if times else 0
    for later in range(now, now + SPAN + 1):
        refusal = deepcopy(windows).full(later)
        assert (refusal is None) == (exact(times, later) < limit)
    window = deepcopy(windows).windows[0]
    wait = window.wait(now)
    assert exact(times, now + wait) < limit
    assert wait == 0 or exact(times, now + wait - 1) >= limit


@some
@given(st.integers(1, 300), st.integers(1, 300), seeds)
def test_a_changed_limit_keeps_what_was_admitted(before, after, seed):
    rng, now, log = Random(seed), 0, []
    old = Windows([RollingWindow("same", before, SPAN), RollingWindow("gone", 10_000, SPAN)])
    for _ in range(400):
        now += rng.choice((0, 0, 0, 1))
        if old.full(now) is None:
            old.take(now)
            log.append(now)
    new = Windows([RollingWindow("same", after, SPAN), RollingWindow("fresh", 10_000, SPAN)]).continuing(old)
    for _ in range(600):
        now += rng.choice((0, 0, 0, 1, 3))
        if new.full(now) is None:
            assert exact(log, now) < after
            new.take(now)
            log.append(now)


@pytest.mark.parametrize(("limit", "span"), [(0, 1), (-1, 1), (1, 0), (1, -5)])
def test_impossible_windows_do_not_construct(limit, span):
    with pytest.raises(ValueError, match="must be positive"):
        RollingWindow("bad", limit, span)


# --- weighted units, and giving back ------------------------------------------------------------------


def settling(limit, seed, calls=500):
    """Yield (window, log before the arrival, units, now, admitted), where admitted calls give back a part of
    what they took, some of it after it has left. The log is exact: [time, units that still count]."""
    rng = Random(seed)
    log: list[list[int]] = []
    open_calls: list[tuple[list[int], int]] = []
    windows, now = Windows([RollingWindow("test", limit, SPAN)]), 0
    for _ in range(calls + limit):
        if rng.random() < 0.3:
            now += rng.choice((0, 1, 1, 2, 3, rng.randint(1, 2 * SPAN)))
        units = min(limit, rng.choice((1, 1, 2, max(1, limit // 150), max(1, limit // 30), max(1, limit // 4))))
        admitted = windows.full(now, units) is None
        yield windows, log, units, now, admitted
        if admitted:
            at = windows.take(now, units)
            log.append([at, units])
            open_calls.append((log[-1], at))
        while open_calls and rng.random() < 0.6:
            entry, at = open_calls.pop(rng.randrange(len(open_calls)))
            freed = rng.choice((0, entry[1], entry[1] // 2, rng.randint(0, entry[1])))
            windows.give_back(at, freed)
            entry[1] -= freed


def counted(log, now):
    return sum(units for at, units in log if at > now - SPAN)


@some
@given(st.integers(1, 3_000), seeds)
def test_settling_never_over_admits(limit, seed):
    for _, log, units, now, admitted in settling(limit, seed):
        assert not admitted or counted(log, now) + units <= limit


@some
@given(st.integers(1, 3_000), seeds)
def test_given_back_units_are_free_again(limit, seed):
    """With everything settled the window admits whatever an exact log has room for, but for a percent."""
    for _, log, units, now, admitted in settling(limit, seed):
        assert admitted or counted(log, now) + units > 0.98 * limit


@some
@given(st.integers(1, 3_000), seeds)
def test_memory_is_bounded_when_units_are_given_back(limit, seed):
    rng, windows = Random(seed), Windows([RollingWindow("test", limit, 10_000)])
    for now in range(1_500):
        units = rng.choice((1, max(1, limit // 60)))
        if windows.full(now, units) is None:
            windows.give_back(windows.take(now, units), rng.choice((units, units - 1)))
        assert blocks_of(windows.windows[0]) <= 2 * BLOCKS + 1


def test_a_call_larger_than_a_limit_never_fits():
    window = RollingWindow("test", 10, SPAN)
    assert (window.wait(0, 11), window.wait(0, 10), window.wait(5 * SPAN, 11)) == (SPAN, 0, SPAN)


def test_what_has_left_gives_nothing_back():
    windows = Windows([RollingWindow("test", 10, SPAN)])
    early = windows.take(0, 10)
    assert windows.full(SPAN, 10) is None
    windows.take(SPAN, 10)
    windows.give_back(early, 10)
    assert windows.full(SPAN, 1) == Full("test", 10, SPAN)


def test_the_tightest_window_has_the_fewest_units_left():
    minute, hour = RollingWindow("minute", 10, MINUTE), RollingWindow("hour", 12, HOUR)
    windows = Windows([minute, hour])
    assert windows.tightest() is minute
    windows.take(0, 5)
    windows.full(MINUTE)
    windows.take(MINUTE, 1)
    assert windows.tightest() is hour
    assert (minute.frees_in(MINUTE), hour.frees_in(MINUTE)) == (MINUTE, HOUR - MINUTE)
    assert Windows([]).tightest() is None


@some
@given(seeds)
def test_small_remains_are_joined_and_stay_exact(seed):
    """Calls of two percent that give nearly all of it back leave more remains than there may be blocks."""
    rng, limit, span = Random(seed), 10_000, 1_000
    window, log = Windows([RollingWindow("test", limit, span)]), []
    [inner] = window.windows
    most = 0
    for now in range(0, 3 * span, 2):
        if window.full(now, 200) is None:
            kept = rng.choice((0, 1, 1, 7, 30, 199))
            window.give_back(window.take(now, 200), 200 - kept)
            log.append((now, kept))
        most = max(most, blocks_of(inner))
        window.full(now)
        exactly = sum(units for at, units in log if at > now - span)
        assert exactly <= inner.used <= exactly + limit // BLOCKS
    assert most > BLOCKS
    for now in range(3 * span, 4 * span + 1, 50):
        window.full(now)
        exactly = sum(units for at, units in log if at > now - span)
        assert exactly <= inner.used <= exactly + limit // BLOCKS
