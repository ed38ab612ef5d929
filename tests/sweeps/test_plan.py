import hashlib

from fastfnn.config import EarlyStopping, SweepConfig, TrainingConfig
from fastfnn.sweeps.plan import in_order_of_execution, notes, plan_runs, run_id, warnings


def test_run_id_is_the_hash_of_configuration_data_and_version():
    config = TrainingConfig()
    text = f"{config.content_hash()}\nabc\n1.0"
    assert run_id(config, "abc", "1.0") == hashlib.sha256(text.encode()).hexdigest()[:16]
    others = [(config.replace(seed=1), "abc", "1.0"), (config, "abd", "1.0"), (config, "abc", "1.1")]
    assert len({run_id(config, "abc", "1.0"), *(run_id(*other) for other in others)}) == 4


def test_plan_is_the_grid_times_the_seeds():
    stopping = EarlyStopping()
    sweep = SweepConfig(batch_size=[16, 32], early_stopping=[None, stopping], seeds=[3, 1])
    plan = plan_runs(sweep, "abc")
    assert len({run.run_id for run in plan}) == len(plan) == 8
    assert [run.config.seed for run in plan[:2]] == [3, 1]
    assert plan[0].settings == {"batch_size": 16, "early_stopping": None}
    assert plan[-1].settings == {"batch_size": 32, "early_stopping": stopping}


def test_the_id_of_a_run_does_not_depend_on_the_grid_around_it():
    small = {run.run_id for run in plan_runs(SweepConfig(batch_size=[16], seeds=1), "abc")}
    large = {run.run_id for run in plan_runs(SweepConfig(batch_size=[16, 32], l2=[0, 1e-4], seeds=2), "abc")}
    assert small < large


def test_all_settings_of_a_seed_come_first_and_the_longest_of_them():
    sweep = SweepConfig(batch_size=[256, 16, 64], seeds=[5, 0])
    order = in_order_of_execution(plan_runs(sweep, "abc"), sweep.seeds)
    found = [(run.config.seed, run.config.batch_size) for run in order]
    assert found == [(5, 16), (5, 64), (5, 256), (0, 16), (0, 64), (0, 256)]


def test_warnings_when_something_else_changes_with_the_batch_size():
    per_batch = TrainingConfig(l2=1e-4, l2_convention="per_batch")
    batchnorm = TrainingConfig(batchnorm="after")
    sizes = {"batch_size": [16, 32]}
    assert "per_batch" in warnings(SweepConfig(training=per_batch, **sizes))[0]
    assert "batchnorm_group" in warnings(SweepConfig(training=batchnorm, **sizes))[0]
    assert not warnings(SweepConfig(training=per_batch.replace(l2=0.0), **sizes))
    assert not warnings(SweepConfig(training=batchnorm.replace(batchnorm_group=16), **sizes))
    assert not warnings(SweepConfig(training=per_batch, batch_size=[16]))
    assert len(warnings(SweepConfig(training=per_batch, batchnorm=["off", "before"], **sizes))) == 2


def test_a_note_when_the_learning_rate_is_the_same_for_all_batch_sizes():
    assert "learning rate is the same" in notes(SweepConfig(batch_size=[16, 32]))[0]
    assert not notes(SweepConfig(batch_size=[16, 32], lr_rule="linear"))
    assert not notes(SweepConfig(batch_size=[16], l2=[0, 1e-4]))
