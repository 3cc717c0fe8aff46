from pathlib import Path

from dstc.training.curves import Curve


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
