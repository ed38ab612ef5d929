from dataclasses import dataclass

import pytest

from fastfnn.config import SweepConfig
from fastfnn.progress import Progress
from fastfnn.sweeps.eta import RemainingTime, makespan
from fastfnn.sweeps.events import RunFinished, RunProgress, RunStarted, SweepStarted
from fastfnn.sweeps.plan import expected_work, plan_runs


@dataclass
class Record:
    measured: bool = True


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def plan():
    return plan_runs(SweepConfig(batch_size=[16, 64], seeds=2), "abc")


@pytest.fixture
def remaining(clock, plan):
    remaining = RemainingTime(clock)
    remaining.observe(SweepStarted(4, 0, tuple(plan), jobs=1))
    return remaining


def test_makespan_by_hand():
    assert makespan([], [3, 3, 2], 2) == 5
    assert makespan([4, 1], [2, 2], 2) == 5
    assert makespan([7], [], 1) == 7
    assert makespan([], [], 1) == 0


def test_nothing_is_known_at_first(remaining, plan):
    assert remaining.seconds() is None
    remaining.observe(RunStarted(plan[0]))
    assert remaining.seconds() is None


def test_a_run_in_progress_foretells_itself_and_the_rest_by_their_work(remaining, clock, plan):
    remaining.observe(RunStarted(plan[0]))
    clock.now += 5
    remaining.observe(RunProgress(plan[0], Progress(1, 4, 0.25, 5.0)))
    other = 20 * expected_work(plan[2].config) / expected_work(plan[0].config)
    assert remaining.seconds() == pytest.approx(15 + 20 + 2 * other)


def test_finished_runs_of_a_setting_tell_its_time(remaining, clock, plan):
    for run, seconds in ((plan[0], 8), (plan[2], 4)):
        remaining.observe(RunStarted(run))
        clock.now += seconds
        remaining.observe(RunFinished(run, Record()))
    assert remaining.seconds() == pytest.approx(12)
    remaining.observe(RunStarted(plan[1]))
    clock.now += 3
    assert remaining.seconds() == pytest.approx(5 + 4)


def test_a_diverged_run_tells_nothing_about_the_others(remaining, clock, plan):
    remaining.observe(RunStarted(plan[0]))
    clock.now += 1
    remaining.observe(RunFinished(plan[0], Record(measured=False)))
    assert remaining.seconds() is None


def test_nothing_is_left_at_the_end(remaining, plan):
    for run in plan:
        remaining.observe(RunStarted(run))
        remaining.observe(RunFinished(run, Record()))
    assert remaining.seconds() == 0


def test_a_late_run_has_no_negative_time(remaining, clock, plan):
    for run in plan[:3]:
        remaining.observe(RunStarted(run))
        clock.now += 2
        remaining.observe(RunFinished(run, Record()))
    remaining.observe(RunStarted(plan[3]))
    clock.now += 60
    assert remaining.seconds() == 0
