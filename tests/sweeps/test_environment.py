import getpass
import json
import os
import platform

from fastfnn.sweeps.environment import describe_environment, usable_cores


def test_the_environment_names_what_times_depend_on():
    environment = describe_environment(3)
    assert environment["jobs"] == 3
    assert environment["python"].endswith(platform.python_version())
    assert environment["cpu"]
    assert 1 <= usable_cores() <= os.cpu_count()


def test_the_environment_names_no_person_machine_or_path():
    text = json.dumps(describe_environment(None))
    assert platform.node() not in text
    assert f'"{getpass.getuser()}"' not in text
    assert os.sep + "usr" not in text
    assert ".so" not in text
