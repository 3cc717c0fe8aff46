"""Where a training keeps what must survive a kill: outside every DVC output, since those are deleted before a stage runs.

A working folder is named by a fingerprint of all that decides the result: the parameters of the stage, the bytes of its
inputs, the code it imports, torch's version. The same command typed again finds it and goes on; anything changed gets a
folder of its own and starts anew. It lies in .work/ of the main repository, also when DVC runs the stage in a copy
(DVC_ROOT names the repository then), so interrupted experiments go on as well.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dstc import processes
from dstc.checkpoints import read_tensors
from dstc.errors import UserError
from dstc.files import write_text, written_whole

STATE, MANIFEST, FINISHED, LOCK = "state.pt", "manifest.json", "finished", "lock"


def runs_folder() -> Path:
    """The folder of all working folders."""
    return Path(os.environ.get("DVC_ROOT", "")) / ".work" / "runs"


class WorkingFolder:
    """The working folder of one stage's run, held by one process at a time."""

    def __init__(self, stage: str, *, params: Mapping[str, Any], inputs: Sequence[Path]) -> None:
        self.manifest = {
            **{f"parameter {key}": json.dumps(value, sort_keys=True) for key, value in _flat(params).items()},
            **{f"input {path}": _digest_of(path) for path in inputs},
            **{f"code {name}": digest for name, digest in _code().items()},
            "torch": torch.__version__,
        }
        name = hashlib.blake2b(json.dumps(self.manifest, sort_keys=True).encode(), digest_size=8).hexdigest()
        self.stage, self.path = stage, runs_folder() / f"{stage}-{name}"

    @contextmanager
    def held(self) -> Iterator[WorkingFolder]:
        """Hold the folder alone; wait, saying so, while another process holds it. The system frees it of a dead one.

        A run that ends before it saved anything leaves no folder. Of several processes of one run the first holds it.
        """
        if not processes.is_first():
            processes.wait()
            yield self
            return
        why = self._what_changed()
        with self._locked():
            processes.wait()
            if not (self.path / MANIFEST).exists():
                write_text(self.path / MANIFEST, json.dumps(self.manifest, indent=1) + "\n")
                if why:
                    print(f"{self.stage}: starts anew, an interrupted run differs in {why}", flush=True)
            try:
                yield self
            finally:
                if not (self.path / STATE).exists():
                    shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.path / LOCK
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            with path.open("a+") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    lock.seek(0)
                    print(
                        f"{self.stage}: process {lock.read().strip()} is at this very run; waiting for it", flush=True
                    )
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists() or not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                    continue  # whoever held it took the folder away; lock the new one
                lock.truncate(0)
                lock.write(str(os.getpid()))
                lock.flush()
                yield
                return

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, or None."""
        path = self.path / STATE
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = read_tensors(path)
        except UserError as error:
            print(f"{self.stage}: starts anew, for the saved state cannot be used: {error}", flush=True)
            return None
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state, whole or not at all."""
        with written_whole(self.path / STATE) as partial, partial.open("wb") as file:
            torch.save(dict(state), file)

    def finish(self, output: Path) -> None:
        """Note that the outputs are written; the folder stays until dvc.lock records them (see `remove_recorded`)."""
        write_text(self.path / FINISHED, hashlib.md5(output.read_bytes(), usedforsecurity=False).hexdigest() + "\n")

    def _what_changed(self) -> str:
        """In what this run differs from the latest interrupted one of the stage; empty where there is none."""
        others = [
            path
            for path in runs_folder().glob(f"{self.stage}-*/{STATE}")
            if path.parent != self.path and not (path.parent / FINISHED).exists()
        ]
        if not others or (self.path / MANIFEST).exists():
            return ""
        latest = max(others, key=lambda path: path.stat().st_mtime).parent / MANIFEST
        before = json.loads(latest.read_text()) if latest.exists() else {}
        keys = [key for key in {**before, **self.manifest} if before.get(key) != self.manifest.get(key)]
        return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def remove_recorded(lock_file: Path = Path("dvc.lock")) -> None:
    """Remove the working folders of finished runs whose outputs dvc.lock records: they have done their duty."""
    recorded = lock_file.read_text() if lock_file.exists() else ""
    for note in runs_folder().glob(f"*/{FINISHED}"):
        if note.read_text().strip() in recorded:
            shutil.rmtree(note.parent, ignore_errors=True)


def describe_all() -> list[str]:
    """One line for each working folder: its name, how far it is, its age, its megabytes."""
    lines = []
    for folder in sorted(runs_folder().glob("*-*")):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        age = (time.time() - folder.stat().st_mtime) / 3600
        state = "finished" if (folder / FINISHED).exists() else "interrupted"
        lines.append(f"{folder.name}  {state}  {age:.1f} hours old  {size:.0f} MB")
    return lines


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _digest_of(path: Path) -> str:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    content = hashlib.blake2b(digest_size=8)
    for file in files:
        if file.is_file():
            content.update(file.name.encode() + b"\0" + file.read_bytes())
    return content.hexdigest()


def _code() -> dict[str, str]:
    """Digests of the project's modules that this process has imported."""
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("dstc", "stages")}
    files = {name: getattr(module, "__file__", None) for name, module in sorted(modules.items())}
    return {name: _digest_of(Path(file)) for name, file in files.items() if file}
