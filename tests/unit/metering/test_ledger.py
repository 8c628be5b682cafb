"""The laws of the ledger, by a machine that does anything in any order and keeps its own simple books."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from caio.metering.ledger import MOST, TOTAL, Books, Exhausted, Ledger, month_of, period_start

amounts = st.one_of(st.integers(0, 40), st.just(10**18))


class LedgerMachine(RuleBasedStateMachine):
    """``budget`` None refuses only what no books can hold. The truth is a dict of reservations and one sum."""

    names = Bundle("names")

    @initialize(budget=st.one_of(st.none(), st.integers(0, 100)), spent=st.integers(0, 120))
    def open(self, budget, spent):
        self.ledger, self.budget = Ledger(budget), budget
        self.ledger.restore(spent)
        self.held, self.spent, self.restored, self.count = {}, spent, spent, 0

    def left(self):
        return (MOST if self.budget is None else self.budget) - self.spent - sum(self.held.values())

    def refused(self, more):
        return 0 < more > self.left()

    def a_refusal_changes_nothing(self, error, action, *arguments):
        before = repr(self.ledger)
        with pytest.raises(error) as caught:
            action(*arguments)
        assert repr(self.ledger) == before
        return caught.value

    @rule(target=names, amount=amounts)
    def reserve(self, amount):
        self.count += 1
        name = f"call-{self.count}"
        if self.refused(amount):
            assert self.a_refusal_changes_nothing(Exhausted, self.ledger.reserve, name, amount).available == self.left()
        else:
            self.ledger.reserve(name, amount)
            self.held[name] = amount
        return name

    @rule(name=names, amount=amounts)
    def change(self, name, amount):
        if name not in self.held:
            self.a_refusal_changes_nothing(KeyError, self.ledger.change, name, amount)
        elif self.refused(amount - self.held[name]):
            self.a_refusal_changes_nothing(Exhausted, self.ledger.change, name, amount)
        else:
            self.ledger.change(name, amount)
            self.held[name] = amount

    @rule(name=consumes(names), share=st.integers(0, 100))
    def settle(self, name, share):
        if name not in self.held:
            self.a_refusal_changes_nothing(KeyError, self.ledger.settle, name, 0)
            return
        amount = self.held[name]
        self.a_refusal_changes_nothing(ValueError, self.ledger.settle, name, amount + 1)
        self.a_refusal_changes_nothing(ValueError, self.ledger.settle, name, -1)
        charged = amount * share // 100
        self.ledger.settle(name, charged)
        del self.held[name]
        self.spent += charged
        self.a_refusal_changes_nothing(KeyError, self.ledger.settle, name, 0)

    @rule(name=names, amount=amounts)
    def reuse_a_name(self, name, amount):
        if name in self.held:
            self.a_refusal_changes_nothing(ValueError, self.ledger.reserve, name, amount)

    @rule(name=names)
    def go_negative(self, name):
        self.a_refusal_changes_nothing(ValueError, self.ledger.reserve, "new", -1)
        self.a_refusal_changes_nothing((ValueError, KeyError), self.ledger.change, name, -1)

    @invariant()
    def the_books_sum_to_zero(self):
        if hasattr(self, "ledger"):
            assert self.ledger.sum == 0
            assert self.ledger.funding == -(self.budget or 0)

    @invariant()
    def the_accounts_are_the_truth(self):
        if hasattr(self, "ledger"):
            assert (self.ledger.reserved, self.ledger.spent) == (sum(self.held.values()), self.spent)

    @invariant()
    def never_a_unit_over_budget(self):
        if getattr(self, "budget", None) is not None:
            assert self.ledger.spent + self.ledger.reserved <= max(self.budget, self.restored)


LedgerMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLedger = LedgerMachine.TestCase


def test_the_last_unit_can_be_spent_and_no_more():
    ledger = Ledger(10)
    ledger.reserve("a", 7)
    with pytest.raises(Exhausted) as caught:
        ledger.reserve("b", 4)
    assert caught.value.available == 3
    ledger.reserve("b", 3)
    ledger.reserve("free", 0)
    ledger.change("a", 2)
    ledger.change("b", 8)
    ledger.settle("b", 8)
    assert (ledger.spent, ledger.reserved, ledger.available, ledger.sum) == (8, 2, 0, 0)


def test_charged_never_exceeds_reserved():
    ledger = Ledger(10)
    ledger.reserve("a", 5)
    with pytest.raises(ValueError, match="not within the 5 reserved"):
        ledger.settle("a", 6)
    ledger.settle("a", 5)
    assert (ledger.spent, ledger.available) == (5, 5)


def test_without_a_budget_nothing_is_refused_and_all_is_booked():
    ledger = Ledger()
    ledger.reserve("a", 10**18)
    ledger.settle("a", 10**17)
    assert (ledger.spent, ledger.reserved, ledger.sum) == (10**17, 0, 0)


def test_more_spent_than_the_budget_refuses_all_but_the_free():
    ledger = Ledger(10)
    ledger.restore(12)
    with pytest.raises(Exhausted):
        ledger.reserve("a", 1)
    ledger.reserve("free", 0)
    ledger.settle("free", 0)
    assert (ledger.spent, ledger.available, ledger.sum) == (12, -2, 0)


def test_a_reservation_stays_in_its_period():
    books = Books()
    october = books.open("2026-10", 3)
    october.fund(10)
    october.reserve("late", 7)
    november = books.open("2026-11", 0)
    november.fund(10)
    november.reserve("new", 10)
    assert books.ledger("2026-10") is october
    with pytest.raises(Exhausted):
        october.change("late", 8)
    october.settle("late", 5)
    assert (october.spent, october.reserved, october.sum) == (8, 0, 0)
    assert (november.spent, november.reserved, november.sum) == (0, 10, 0)
    books.open("2026-12", 0)
    assert [period in books for period in ("2026-10", "2026-11", "2026-12")] == [False, True, True]
    with pytest.raises(KeyError):
        books.ledger("2026-10")
    with pytest.raises(ValueError, match="has books"):
        books.open("2026-12", 0)


def test_books_are_kept_while_anything_is_reserved_in_them():
    books = Books()
    books.open("2026-10", 0).reserve("free", 0)
    books.open("2026-11", 0)
    assert "2026-10" in books


@given(st.lists(st.one_of(st.none(), st.integers(0, 50)), max_size=6), st.integers(0, 60))
def test_a_changed_budget_changes_what_is_available_alone(budgets, spent):
    ledger = Ledger(20)
    ledger.restore(spent)
    ledger.reserve("free", 0)
    for budget in budgets:
        ledger.fund(budget)
        assert (ledger.sum, ledger.spent, ledger.reserved) == (0, spent, 0)
        if budget is None:
            ledger.change("free", 1000)
            ledger.change("free", 0)
            continue
        assert ledger.available == budget - spent
        with pytest.raises(Exhausted):
            ledger.change("free", max(1, budget - spent + 1))
        ledger.change("free", max(0, budget - spent))
        ledger.change("free", 0)


@pytest.mark.parametrize(
    ("moment", "period"),
    [
        (datetime(2026, 11, 1, tzinfo=UTC), "2026-11"),
        (datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC), "2026-10"),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), "2028-02"),
    ],
)
def test_months_are_those_of_the_calendar_in_utc(moment, period):
    at = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert month_of(at) == period
    assert period_start(period) <= at
    assert month_of(period_start(period)) == period
    assert month_of(period_start(period) - 1) != period
    assert period_start(TOTAL) == 0
