import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.pressure import IDLE, Limits, Load, Pressure, lowered

LIMITS = Limits(in_flight=10, wait_seconds=2.0)
LOADS = st.builds(Load, st.integers(0, 40), st.floats(0, 8))


@pytest.mark.parametrize(
    ("load", "pressure"),
    [
        (IDLE, 0.0),
        (Load(10, 2.0), 0.0),
        (Load(15), 0.5),
        (Load(20), 1.0),
        (Load(1000, 1000.0), 1.0),
        (Load(0, 3.0), 0.5),
        (Load(12, 3.0), 0.5),
    ],
)
def test_pressure_rises_linearly_with_the_larger_load_sign(load: Load, pressure: float) -> None:
    assert LIMITS.pressure(load) == pytest.approx(pressure)
    assert Pressure(LIMITS).update(load) == pytest.approx(pressure)


def test_without_limits_load_changes_nothing() -> None:
    assert Pressure(Limits()).update(Load(10**6, 10**6)) == 0.0


def test_an_oscillating_load_changes_the_pressure_once() -> None:
    pressure = Pressure(LIMITS)
    assert pressure.update(Load(15)) == pytest.approx(0.5)
    for in_flight in (13, 15, 12, 14, 13):
        assert pressure.update(Load(in_flight)) == pytest.approx(0.5)
    assert pressure.update(Load(11)) == pytest.approx(0.375)  # 11 x 1.25 would have raised it so
    assert pressure.update(Load(8)) == 0.0


@given(st.lists(LOADS, min_size=1, max_size=20))
def test_pressure_stays_between_the_load_and_its_lag(loads: list[Load]) -> None:
    pressure = Pressure(LIMITS)
    for load in loads:
        now = pressure.update(load)
        assert LIMITS.pressure(load) <= now <= LIMITS.pressure(load, 1.25)
    assert pressure.update(IDLE) == 0.0


def test_full_pressure_halves_a_budget() -> None:
    assert [lowered(100, pressure) for pressure in (0.0, 0.5, 1.0)] == [100, 75, 50]
    assert lowered(None, 1.0) is None
