"""`make mutation`: which faults it plants, and what its report says of them. It runs nothing here."""

from __future__ import annotations

from pathlib import Path

from tools.mutation import (
    Fault,
    Outcome,
    explanations,
    make_fault,
    modules,
    own_tests,
    reason_of,
    report,
    statement_faults,
)

SOURCE = '''
async def send(order: int) -> str:
    """Send."""
    await write(order)
    order.state = "sent"
    if order > 5:
        raise ValueError
    return "ä"


class Order:
    def __repr__(self) -> str:
        return "order"
'''


def test_statements_are_left_out_one_at_a_time() -> None:
    """A promise is often one statement: the entry that is written, the error that is raised. `__repr__` is none."""
    faults = [make_fault("ibkr_bridge/orders/a.py", SOURCE, changed) for changed in statement_faults(SOURCE)]

    assert sorted((each.before, each.after) for each in faults) == [
        ("await write(order)", "pass"),
        ('order.state = "sent"', "pass"),
        ("raise ValueError", "pass"),
        ('return "ä"', "return None"),
    ]
    assert {each.line for each in faults} == {4, 5, 7, 8}


def test_every_module_with_faults_has_tests_of_its_own() -> None:
    """Only those can locate a fault."""
    missing = [path for path in modules() if not Path(own_tests(path)).is_file()]

    assert missing == []


def test_the_report_counts_for_each_module_and_lists_the_survivors() -> None:
    """Unexplained ones are marked: somebody must look at them."""
    survivor = Fault("ibkr_bridge/orders/journal/index.py", 7, "x = 1", "x = 2", "")
    outcomes = {
        survivor.path: Outcome(located=2, found=1, survivors=[survivor]),
        "ibkr_bridge/profiles/dispatch.py": Outcome(located=4),
        "ibkr_bridge/cache/singleflight.py": Outcome(),
    }

    page = report(outcomes, unusable=3, minutes=2.0, seed=9, place_count=50)

    assert "8 faults in 2 minutes, drawn with seed 9 from 50 places. 3 more could not be imported" in page
    assert "| orders | 4 | 2 | 1 | 1 | 75% |" in page
    assert "| profiles/dispatch.py | 4 | 4 | 0 | 0 | 100% |" in page
    assert "- `orders/journal/index.py:7`: `x = 1` → `x = 2`\n  **not explained**" in page
    assert "singleflight" not in page


def test_an_explanation_holds_for_the_fault_that_it_describes() -> None:
    """An entry without `after` explains every change of the line."""
    fault = Fault("ibkr_bridge/orders/a.py", 1, "x = 1", "x = 2", "")
    reasons = [
        {"module": "orders/b.py", "why": "another module"},
        {"module": "orders/a.py", "before": "x", "after": "x = 3", "why": "another fault"},
        {"module": "orders/a.py", "before": "x =", "after": "2", "why": "this one"},
        {"module": "orders/a.py", "before": "x =", "why": "any change of the line"},
    ]

    assert (reason_of(fault, reasons), reason_of(fault, reasons[:2])) == ("this one", None)
    assert reason_of(fault, reasons[-1:]) == "any change of the line"
    assert all(each.get("why") for each in explanations())
