from pathlib import Path

from dstc.training.curves import Curve, LiveFile


def test_a_row_holds_the_means_since_the_last_row(tmp_path: Path) -> None:
    curve = Curve()
    for value in (1.0, 3.0):
        curve.add({"loss": value})
    curve.close_row(2, learning_rate=0.5)
    curve.add({"loss": 10.0})
    curve.close_row(3, learning_rate=0.25)
    curve.save(tmp_path / "curve.csv")
    assert (tmp_path / "curve.csv").read_text() == "iteration,learning_rate,loss\n2,0.5,2\n3,0.25,10\n"


def test_columns_that_come_later_are_empty_in_earlier_rows(tmp_path: Path) -> None:
    curve = Curve()
    curve.add({"a": 1.0})
    curve.close_row(1)
    curve.add({"a": 1.0, "b": 0.125})
    curve.close_row(2)
    curve.save(tmp_path / "curve.csv")
    assert (tmp_path / "curve.csv").read_text() == "iteration,a,b\n1,1,\n2,1,0.125\n"


def closed(curve: Curve, iteration: int, **values: float) -> None:
    curve.add(values)
    curve.close_row(iteration)


def test_a_live_file_is_appended_to_and_always_what_the_curve_would_save(tmp_path: Path) -> None:
    curve, live, saved = Curve(["later"]), LiveFile(tmp_path / "live.csv"), tmp_path / "saved.csv"
    files = []
    live.show(curve)
    for iteration, values in enumerate(
        [{"a": 1.0}, {"a": 0.5}, {"a": 0.25, "later": 3.0}, {"a": 0.1, "unforeseen": 1.0}]
    ):
        closed(curve, iteration + 1, **values)
        live.show(curve)
        curve.save(saved)
        assert live.path.read_text() == saved.read_text()
        files.append(live.path.stat().st_ino)
    assert files[0] == files[1] == files[2]  # so `tail -f` goes on
    assert files[2] != files[3]  # a new column takes a new file


def test_a_live_file_of_an_earlier_run_is_cut_to_the_curve_that_was_saved(tmp_path: Path) -> None:
    curve, path = Curve(), tmp_path / "live.csv"
    closed(curve, 1, a=1.0)
    path.write_text("iteration,a\n1,1\n2,7\n3,")  # killed within a row
    LiveFile(path).show(curve)
    assert path.read_text() == "iteration,a\n1,1\n"
