"""Kill every training stage at random moments, start it again, and compare the bytes with a run that nobody touched.

    python -m tests.endurance --kills 42 --seed 0

Each trial kills a stage one to three times, with another number of loader workers each time, then lets `dvc repro` finish
it. It must end with the bytes and the dvc.lock of the untouched run, and have gone on from the state after the last whole
step: each is saved. A row of tests/endurance/results.csv is one kill. Costs about ten seconds of CPU a kill.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tests.pipeline.project import ROOT, Project, small_project

STAGES = ("warm_up_source", "warm_up_target", "joint", "co_train")
RESULTS = Path(__file__).parent / "results.csv"
SABOTAGE = Path(__file__).parent / "sabotage"
ITERATIONS, VALIDATE_EVERY, DRAW_EVERY = 24, 8, 6
SCHEDULE = {"iterations": ITERATIONS, "schedule_iterations": ITERATIONS, "validate_every": VALIDATE_EVERY}
WORKERS = (0, 1, 3)
LIMIT = 300.0  # seconds for one run

# How often each point is passed in a whole run, and how long the code behind it takes (seconds, generously).
POINTS = {
    "loading": (1, 5.0),
    "stepping": (ITERATIONS, 0.1),
    "saving": (ITERATIONS, 0.05),
    "validating": (ITERATIONS // VALIDATE_EVERY, 0.3),
    "writing a curve": (2, 0.02),
    "writing a network": (1, 0.05),
    "finishing": (1, 0.02),
    "ended": (1, 0.8),  # between the stage's end and dvc's own write
}
DRAWING = {"drawing": (ITERATIONS // DRAW_EVERY, 0.1)}  # co_train alone


@dataclass
class Kill:
    """One kill and what came of it."""

    seed: int
    trial: int
    stage: str
    at: str
    nth: int
    delay: float
    victims: str
    workers: int
    struck: str = ""  # "yes", or "too late": the victims were gone
    went_on_after: str = ""  # the iteration from which the next run went on; empty: from the start
    same_bytes: str = ""  # of the outputs and of dvc.lock, once the trial has ended


@dataclass(frozen=True)
class Arena:
    """The small project, with a snapshot of what it is like when each stage begins."""

    project: Project
    before: Mapping[str, str]  # dvc.lock
    after: Mapping[str, str]
    outputs: Mapping[str, Mapping[str, bytes]]


def outputs_of(project: Project, stage: str) -> dict[str, bytes]:
    """Every file in the stage's folder, but for the list that DVC keeps there for git."""
    folder = project.root / "data" / stage
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".gitignore")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def build(folder: Path) -> Arena:
    """Run everything once, untouched."""
    (folder / "project").mkdir()
    project = small_project(folder / "project")
    longer = {
        "warm_up.source": SCHEDULE,
        "warm_up.target": SCHEDULE,
        "joint": SCHEDULE,
        "co_train": {**SCHEDULE, "pictures_every": DRAW_EVERY},
        "runtime": {"checkpoint_every_minutes": 1e-9, "workers": 0},
    }
    project.edit_params(longer)
    project.commit("longer trainings")
    project.dvc("repro", "make_split")
    before, after, outputs = {}, {}, {}
    for stage in STAGES:
        before[stage] = (project.root / "dvc.lock").read_text()
        project.dvc("repro", "-s", stage)
        after[stage], outputs[stage] = (project.root / "dvc.lock").read_text(), outputs_of(project, stage)
    return Arena(project, before, after, outputs)


def reset(arena: Arena, stage: str) -> None:
    """As before the stage ran: DVC must find neither its outputs nor its run in any cache."""
    root = arena.project.root
    for gone in (root / "data" / stage, root / ".work", root / ".dvc/cache/runs"):
        shutil.rmtree(gone, ignore_errors=True)
    (root / "dvc.lock").write_text(arena.before[stage])


def start(arena: Arena, stage: str, plan: Mapping[str, Any] | None, workers: int) -> tuple[int, str]:
    """`dvc repro` of one stage, perhaps with a kill on the way: exit status and what it printed.

    An orphan may live on after dvc: it is not waited for, nor is its output.
    """
    arena.project.edit_params({"runtime": {"workers": workers}})
    environment = arena.project.env | {"PYTHONPATH": str(SABOTAGE)}
    if plan:
        environment["ENDURANCE"] = json.dumps(plan)
    with tempfile.TemporaryFile("w+") as said:
        dvc = subprocess.Popen(
            ["dvc", "repro", "-s", stage],
            cwd=arena.project.root,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status = dvc.wait(LIMIT)
        said.seek(0)
        shown = said.read()
    if "Unable to read RWLock-file" in shown:  # dvc itself was killed while it wrote that file, not whole or not at all
        print("dvc left a torn .dvc/tmp/rwlock: deleted, as docs/troubleshooting.md says", flush=True)
        (arena.project.root / ".dvc/tmp/rwlock").unlink()
        return start(arena, stage, plan, workers)
    return status, shown


def kills_of(trial: int, seed: int) -> Iterator[Kill]:
    """One to three kills of one stage, in an order and early enough that each finds something left to kill."""
    drawn = random.Random(f"{seed}/{trial}")
    stage, count = STAGES[trial % len(STAGES)], drawn.randint(1, 3)
    points = POINTS | (DRAWING if stage == "co_train" else {})
    for at in sorted(drawn.sample(list(points), k=count), key=_position_at_the_end):
        times, takes = points[at]
        nth, delay = drawn.randint(1, max(1, times // count)), round(drawn.uniform(0, takes), 4)
        victims = "dvc" if at == "ended" else drawn.choice(["trainer", "dvc", "both"])
        yield Kill(seed, trial, stage, at, nth, delay, victims, drawn.choice(WORKERS))


def _position_at_the_end(point: str) -> int:
    ends = [*POINTS][[*POINTS].index("writing a curve") :]
    return ends.index(point) + 1 if point in ends else 0


def run_trial(arena: Arena, kills: list[Kill], folder: Path) -> None:
    """Kill, start again, ..., finish; fill in what came of it."""
    stage, project, said_next, trainers = kills[0].stage, arena.project, [], []
    reset(arena, stage)
    for kill in kills:
        said, trainer = run_killed(arena, kill, folder / "note")
        said_next.append(said)
        trainers.append(trainer)
    last_workers = random.Random(f"last {kills[0].seed}/{kills[0].trial}").choice(WORKERS)
    status, said = start(arena, stage, None, last_workers)
    assert status == 0, said
    _wait_for(trainers)
    same = outputs_of(project, stage) == arena.outputs[stage]
    same_lock = (project.root / "dvc.lock").read_text() == arena.after[stage]
    for kill, next_ in zip(kills, [*said_next[1:], said], strict=True):
        went_on = re.search(r"resuming from iteration (\d+)", next_)
        kill.went_on_after = went_on[1] if went_on else ""
        kill.same_bytes = "yes" if same and same_lock else "no"


def run_killed(arena: Arena, kill: Kill, note: Path) -> tuple[str, str]:
    """Start the stage with that kill on the way: what it printed, and the trainer's process id if there was a kill."""
    note.unlink(missing_ok=True)
    plan = {key: getattr(kill, key) for key in ("stage", "at", "nth", "delay", "victims")}
    status, said = start(arena, kill.stage, {**plan, "note": str(note)}, kill.workers)
    until = time.monotonic() + (kill.delay + 1 if status == 0 else 30)
    while not (note.exists() and note.read_text().strip()) and time.monotonic() < until:
        time.sleep(0.01)
    trainer, failed = note.read_text().split() if note.exists() else ("", "1")
    kill.struck = "yes" if failed == "0" else "too late"
    return said, trainer


def _wait_for(pids: list[str]) -> None:
    until = time.monotonic() + 60
    while any(pid and Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
        time.sleep(0.1)


def losses_beyond_a_save(kills: list[Kill]) -> list[Kill]:
    """Kills in a step after which the next run went on from a state older than the last one that was due."""
    first = kills[0]
    due = (first.nth - 1) // (2 if first.stage == "co_train" else 1)  # which has two learners
    lost = first.at == "stepping" and first.struck == "yes" and int(first.went_on_after or 0) < due
    return [first] if lost else []


def two_starts(arena: Arena, stage: str) -> str:
    """The same stage started twice at once, without dvc, which would refuse it: what is wrong with the outcome."""
    reset(arena, stage)
    script, _, argument = stage.replace("warm_up_", "warm_up ").partition(" ")
    command = [sys.executable, "-m", f"stages.{script}", *([argument] if argument else [])]
    settings: dict[str, Any] = {"cwd": arena.project.root, "env": arena.project.env, "text": True}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **settings) for _ in range(2)]
    said = [one.communicate(timeout=LIMIT)[0] for one in both]
    if any(one.returncode for one in both):
        return f"ended with {[one.returncode for one in both]}: {said}"
    waited = [text for text in said if "; waiting for it" in text]
    if len(waited) != 1 or f"resuming from iteration {ITERATIONS}," not in waited[0]:
        return f"the second did not wait for the first: {said}"
    found, expected = outputs_of(arena.project, stage), arena.outputs[stage]
    other = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return f"other bytes in {other}" if other else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.endurance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=42, help="how many kills at least")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first-trial", type=int, default=0, help="where to go on")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    done: list[Kill] = []
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name, options.results.open("w", newline="") as file:
        table = csv.DictWriter(file, ["commit", *(field.name for field in fields(Kill))], lineterminator="\n")
        table.writeheader()
        arena, trial = build(Path(name)), options.first_trial
        print(f"built; {commit}", flush=True)
        while sum(kill.struck == "yes" for kill in done) < options.kills:
            kills = list(kills_of(trial, options.seed))
            run_trial(arena, kills, Path(name))
            faults += [f"{kill} lost more than a save" for kill in losses_beyond_a_save(kills)]
            faults += [f"{kill} ended with other bytes" for kill in kills if kill.same_bytes != "yes"]
            table.writerows({"commit": commit, **asdict(kill)} for kill in kills)
            file.flush()
            print(*kills, sep="\n", flush=True)
            done, trial = done + kills, trial + 1
        for stage in STAGES:
            wrong = two_starts(arena, stage)
            faults += [f"two starts of {stage}: {wrong}"] if wrong else []
    struck = [kill for kill in done if kill.struck == "yes"]
    survived = sum(kill.same_bytes == "yes" for kill in struck)
    print(f"{survived} of {len(struck)} kills survived with the same bytes; {len(done) - len(struck)} came too late")
    print(f"two starts at once: {len(STAGES)} stages tried")
    sys.exit("\n".join(faults) if faults else os.EX_OK)


if __name__ == "__main__":
    main()
