"""Starting a stage in several processes, with torchrun: `runtime.processes`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dstc.core import cores, processes
from dstc.core.device import choose_device, gpus, use
from dstc.core.errors import UserError
from dstc.core.interruption import Interrupted, before_the_end
from dstc.core.launched import was_launched
from dstc.training.interruption import Interruption

SEVERAL_MACHINES = "PET_NNODES"  # torchrun's own variable for --nnodes
TIME_TO_SAVE = 600  # seconds, for an iteration and for writing the state; torchrun's own would be 30


def in_processes(
    work: Callable[[], None], command: Sequence[str], *, wanted: int | str, device: str, batches: Mapping[str, int]
) -> None:
    """Do `work` in as many processes as are wanted: a number, or "auto" for all GPUs of this machine, else one.

    `command` is this stage's module and arguments, which torchrun starts, once in each process; each of them comes here
    again. `batches` are the batch sizes by parameter, which the processes share evenly.
    """
    if was_launched():
        refuse_uneven(int(os.environ["WORLD_SIZE"]), batches)
        own = choose_device(device)
        use(own)
        try:
            with processes.joined(own):
                work()
        except Interrupted as interrupted:  # torchrun ends the others when one has ended, which says why
            raise SystemExit(interrupted.exit_status) from None
        return
    several_machines = os.environ.get(SEVERAL_MACHINES, "1") != "1"
    number = _number_of(wanted, device, {} if several_machines else batches)
    if number > 1 or several_machines:
        _torchrun(command, number)
    else:
        work()


def _number_of(wanted: int | str, device: str, batches: Mapping[str, int]) -> int:
    chosen = choose_device(device)
    there = gpus(chosen)
    if wanted == "auto":
        number = max(there, 1)
        while any(batch % number for batch in batches.values()):
            number -= 1
        if number < there:
            listed = ", ".join(f"{name} {batch}" for name, batch in batches.items())
            print(f"runtime.processes: {number} of {there} GPUs, for no more can share the batches evenly ({listed})")
        return number
    number = int(wanted)
    if there and number > there:
        raise UserError(
            f"runtime.processes is {number}, but runtime.device '{device}' has {there} of this machine's GPUs; "
            f"set runtime.processes to at most {there}, or to auto"
        )
    refuse_uneven(number, batches)
    return number


def refuse_uneven(number: int, batches: Mapping[str, int]) -> None:
    """Every process takes an equal share of each batch."""
    for name, batch in batches.items():
        if batch % number:
            raise UserError(
                f"{name} is {batch}, which {number} processes cannot share evenly; make it a multiple of {number}, or set "
                f"runtime.processes to a divisor of {batch}"
            )


def _torchrun(command: Sequence[str], number: int) -> None:
    """Run `python -m command` in `number` processes; an interruption reaches them, and their failure ends this process."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores.allowed() // number)))
    before_the_end(_kill_the_processes)
    threading.Thread(target=_follow_the_parent, args=[Interruption()], daemon=True).start()
    try:
        run(parse_args([f"--nproc-per-node={number}", f"--shutdown-timeout={TIME_TO_SAVE}", "-m", *command]))
    except SignalException as interruption:
        raise SystemExit(128 + interruption.sigval) from None
    except ChildFailedError as failed:
        number, failure = failed.get_first_failure()
        if failure.exitcode < 0:  # what ends of an exception has shown it itself
            name = signal.Signals(-failure.exitcode).name
            print(f"error: process {number} was ended by {name}; the others were stopped", file=sys.stderr)
        raise SystemExit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode) from None


def _kill_the_processes() -> None:
    """Those that torchrun started: one may wait for another that is stuck."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def _follow_the_parent(interruption: Interruption) -> None:
    """A dvc that is killed tells nobody: ask the processes to save and stop once it is gone."""
    while interruption.reason is None:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
