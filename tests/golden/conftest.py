from collections.abc import Iterator

import pytest
import torch

from tests.golden import deviations


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the values were recorded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    found = deviations.largest()
    if found and terminalreporter.config.getoption("capture") == "no":
        terminalreporter.write_sep("-", "largest deviation from the recorded values, and where")
        for one in found:
            terminalreporter.write_line(str(one))
