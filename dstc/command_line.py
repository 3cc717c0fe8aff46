"""The console command `dstc`: predict, export, own-data, presets, runs, version.

Each but the last is a module with a `main` of its own, which `python -m` runs as well; the one that is asked for is
imported, no other.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

from dstc import __version__

COMMANDS = {
    "predict": ("dstc.predict", "label images with a trained network"),
    "export": ("dstc.export", "write a trained network as .pt2, .onnx or .safetensors"),
    "own-data": ("dstc.own_data", "look at data of your own and draft its preset"),
    "presets": ("dstc.presets", "list presets, or merge one into params.yaml"),
    "runs": ("dstc.training.runs", "list or remove the working folders of trainings"),
    "version": ("", "print the version"),
}
"""Name: the module whose `main` it is, and what it does."""


def main(arguments: Sequence[str] | None = None) -> None:
    described = "\n".join(f"  {name:<10}{what}" for name, (_, what) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "dstc",
        description=f"Semi-supervised domain adaptation for semantic segmentation. The commands:\n\n{described}",
        epilog="`dstc COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those above")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the command")
    options = parser.parse_args(arguments)
    module, _ = COMMANDS[options.command]
    if module:
        import_module(module).main(options.arguments, prog=f"dstc {options.command}")
    elif options.arguments:
        parser.error(f"version takes no arguments, not {' '.join(options.arguments)}")
    else:
        print(f"dstc {__version__}")
