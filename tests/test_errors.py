import pytest

from dstc.errors import UserError, nearest, reported


def test_a_users_mistake_ends_a_stage_with_its_lines_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise UserError("one\ntwo")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: one\nerror: two\n"


def test_other_errors_keep_their_stack_trace() -> None:
    with pytest.raises(ZeroDivisionError), reported():
        _ = 1 / 0


def test_only_close_words_are_suggested() -> None:
    assert nearest("sise", ["size", "seed"]) == "; did you mean 'size'?"
    assert nearest("xyz", ["size", "seed"]) == ""
