"""The whole pipeline on a few small images, in a temporary copy of the project: does it run here?

    python -m tests.smoke

Nothing of the project itself is touched. The copy is removed at the end, and kept where a stage fails.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dstc.core.places import REPORT
from tests.pipeline.project import small_project


def main() -> None:
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="dstc-smoke-"))
    (folder / "project").mkdir()
    print(f"running in {folder / 'project'}", flush=True)
    project = small_project(folder / "project")
    code = subprocess.run(["dvc", "repro"], cwd=project.root, env=project.env, check=False).returncode
    if code or not (project.root / REPORT).is_file():
        print(f"failed with exit status {code}; the copy is kept in {project.root}", file=sys.stderr)
        raise SystemExit(1)
    shutil.rmtree(folder)
    print(f"ok: ran in {project.root}, now removed; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
