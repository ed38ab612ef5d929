import pytest

from fastfnn.errors import ConfigError
from fastfnn.sweeps import parse_axis


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("16..2048:x2", [16, 32, 64, 128, 256, 512, 1024, 2048]),
        ("16..100:x2", [16, 32, 64]),
        ("1..9:+2", [1, 3, 5, 7, 9]),
        ("1..3", [1, 2, 3]),
        ("5..5:x2", [5]),
        ("0,1e-4", [0, 1e-4]),
        ("1e-4..1e-1:x10", [1e-4, 1e-3, 1e-2, 1e-1]),
        ("0.1..0.5:+0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("off,after", ["off", "after"]),
        ("16..64:x2, 100", [16, 32, 64, 100]),
        ("20-7-5,50", [(20, 7, 5), 50]),
        ("true,False,none", [True, False, None]),
        ("-1", [-1]),
    ],
)
def test_values(text, values):
    parsed = parse_axis(text)
    assert parsed == values
    assert [type(value) for value in parsed] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found an empty one"),
        ("16,,32", "found an empty one"),
        ("9..1", "found 1 after 9"),
        ("1..9:x1", "expected a factor above 1"),
        ("0..9:x2", "first value above 0"),
        ("1..9:+0", "expected a step above 0, found 0"),
        ("1..9:*2", "expected a range such as"),
        ("..9", "expected a range such as"),
        ("a..b", "expected a number, found 'a'"),
        ("1..inf", "expected a number, found 'inf'"),
        ("1..99999999", "at most 10000 values"),
    ],
)
def test_errors_name_what_was_expected_and_found(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_axis(text)
