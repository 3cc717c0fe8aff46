"""Where a training keeps what must survive a kill: outside every DVC output, since those are deleted before a stage runs.

A working folder is named by a fingerprint of all that decides the result: the parameters of the stage, the bytes of its
inputs, the code it imports, the versions of what computes. The same command typed again finds it and goes on; anything
changed gets a folder of its own and starts over. It lies in .work/ of the main repository, also when DVC runs the stage
in a copy (DVC_ROOT names the repository then), so interrupted experiments go on as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dstc.core import processes
from dstc.core.errors import UserError
from dstc.core.files import locked, write_text
from dstc.core.run_folders import FINISHED, MANIFEST, STATE, lock_of, runs_folder
from dstc.models.checkpoints import read_tensors, write_tensors

COMPUTING = ("torch", "torchvision", "numpy", "pillow", "timm")  # packages whose version decides bits; timm's, if used


class WorkingFolder:
    """The working folder of one stage's run, held by one process at a time."""

    def __init__(
        self,
        stage: str,
        *,
        params: Mapping[str, Any],
        inputs: Sequence[Path],
        outputs: Path,
        computing: Mapping[str, str] | None = None,
    ) -> None:
        """`params`, `inputs` and what `computing` says of the machine decide the result; `outputs` is the folder that the
        stage writes it to."""
        self.outputs = outputs
        self.inputs = {str(path): _digest_of(path) for path in inputs}
        self.manifest = {
            **{f"parameter {key}": json.dumps(value, sort_keys=True) for key, value in _flat(params).items()},
            **{f"input {path}": digest for path, digest in self.inputs.items()},
            **{f"code {name}": digest for name, digest in _code().items()},
            **processes.from_first(lambda: dict(computing or {})),  # which is not asked of the others
            **{f"version of {name}": version(name) for name in COMPUTING if name != "timm" or name in sys.modules},
        }
        name = hashlib.blake2b(json.dumps(self.manifest, sort_keys=True).encode(), digest_size=8).hexdigest()
        self.stage, self.path = stage, runs_folder() / f"{stage}-{name}"

    @contextmanager
    def held(self) -> Iterator[WorkingFolder]:
        """Hold the folder alone, and the outputs; wait, saying so, while another process does. A dead one holds nothing.

        The outputs, since a trainer of other parameters whose dvc was killed may still be about to write them. A run that
        ends before it saved anything leaves no folder. Of several processes of one run the first holds it, and all must
        agree in what decides the result.
        """
        if not processes.is_first():
            self._agree()
            yield self
            return
        lock = lock_of(self.path)
        with (
            locked(
                self.outputs / ".lock", lambda: f"{self.stage}: another process is about to write to {self.outputs}"
            ),
            locked(lock, lambda: f"{self.stage}: process {lock.read_text()} is at this very run") as handle,
        ):
            os.write(handle, str(os.getpid()).encode())
            try:
                self._agree()
                if not (self.path / MANIFEST).exists():
                    self._begin()
                yield self
            finally:
                if not (self.path / STATE).exists():
                    shutil.rmtree(self.path, ignore_errors=True)

    def _agree(self) -> None:
        """Wait for all processes of the run. A machine with other files would add gradients of another network unnoticed."""
        differs = _differing(processes.from_first(lambda: self.manifest), self.manifest)
        if processes.any_of(bool(differs)):
            whose = f"this process differs in {differs}" if differs else "another process differs, and says in what"
            raise UserError(
                f"{self.stage}: all processes need the parameters, data, code and versions of the first one; {whose}"
            )

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None where there is none, or, saying so, where it is damaged."""
        path = self.path / STATE
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = read_tensors(path)
        except UserError as error:
            print(f"{self.stage}: starts over, for the saved state cannot be used: {error}", flush=True)
            return None
        if not isinstance(state, dict) or state.pop("run", None) != self.path.name:
            print(
                f"{self.stage}: starts over, for the saved state cannot be used: {path} is not of this run", flush=True
            )
            return None
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state, whole or not at all."""
        write_tensors(self.path / STATE, {**state, "run": self.path.name})

    def finish(self, output: Path) -> None:
        """Note that the outputs are written; the folder stays until dvc.lock records them (`remove_recorded`)."""
        write_text(self.path / FINISHED, hashlib.md5(output.read_bytes(), usedforsecurity=False).hexdigest() + "\n")

    def _begin(self) -> None:
        """Note what decides the result; say in what it differs from the latest interrupted run of the stage."""
        why = self._what_changed()
        write_text(self.path / MANIFEST, json.dumps(self.manifest, indent=1) + "\n")
        if why:
            print(f"{self.stage}: starts over: an interrupted run differs in {why}", flush=True)

    def _what_changed(self) -> str:
        states = runs_folder().glob(f"{self.stage}-*/{STATE}")
        interrupted = [state for state in states if not (state.parent / FINISHED).exists()]
        if not interrupted:
            return ""
        latest = max(interrupted, key=lambda state: state.stat().st_mtime).parent / MANIFEST
        try:
            before = dict(json.loads(latest.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # damaged: then it cannot be said
            return ""
        return _differing(before, self.manifest)


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """The keys in which two manifests differ, some of them; empty where they agree."""
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


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
    """Digests of the project's modules that this process has imported, the stage that it runs as `__main__` included.

    Without dstc.config, as in dvc.yaml: all that it gives to a stage is among the parameters (tests/config/test_schema.py),
    and an edited check or message must not throw a half-done training away.
    """
    specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
    own = {
        spec.name: spec.origin
        for spec in specs
        if spec and spec.name.split(".")[0] in ("dstc", "stages", "experiments")
    }
    decides = {name: origin for name, origin in own.items() if origin and not f"{name}.".startswith("dstc.config.")}
    return {name: _digest_of(Path(origin)) for name, origin in sorted(decides.items())}
