import pytest
import torch

from dstc.core.errors import UserError, exit_on_user_error, nearest


def test_a_users_mistake_ends_a_stage_with_its_lines_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        raise UserError("one\ntwo")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: one\nerror: two\n"


class OutOfMemoryError(RuntimeError):
    """Called as torch's, of a GPU."""


@pytest.mark.parametrize("error", [OutOfMemoryError("CUDA out of memory"), RuntimeError("x: can't allocate memory: y")])
def test_what_the_memory_does_not_hold_is_told_with_what_to_lower(
    error: RuntimeError, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, exit_on_user_error():
        raise error
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: not enough memory for the network; lower batch, ")


def test_torchs_errors_of_memory_are_known() -> None:
    """By their name and words, since errors.py takes no torch."""
    assert torch.OutOfMemoryError.__name__ == OutOfMemoryError.__name__
    assert issubclass(torch.OutOfMemoryError, RuntimeError)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        torch.empty(2**60, dtype=torch.uint8)


def test_an_error_of_a_file_whose_reason_is_in_its_arguments_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """As Pillow's and shutil's are."""
    error = OSError("encoder error -2 when writing image file")
    error.filename = "a.jpg"
    with pytest.raises(SystemExit), exit_on_user_error():
        raise error
    assert capsys.readouterr().err == "error: a.jpg: encoder error -2 when writing image file\n"


def test_other_errors_keep_their_stack_trace() -> None:
    with pytest.raises(ZeroDivisionError), exit_on_user_error():
        _ = 1 / 0


def test_only_close_words_are_suggested() -> None:
    assert nearest("sise", ["size", "seed"]) == "; did you mean 'size'?"
    assert nearest("xyz", ["size", "seed"]) == ""
