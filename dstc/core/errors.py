"""The one exception that means: the user can mend this. Stages print it as it is, without a stack trace."""

from __future__ import annotations

import difflib
import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from dstc.core.interruption import Interrupted, listening

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of the disk, of a quota, of a limit on the size of a file


class UserError(ValueError):
    """Bad input. The message names the file or parameter, the rule, the value found and the cure."""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where a known word is close, else an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def names_its_cause(error: OSError) -> bool:
    """Whether it is of a certain file, or of a full disk: then it is the user's to mend."""
    return error.filename is not None or error.errno in FULL


def in_words(error: OSError) -> str:
    """The file, if it is known, and what is wrong with it. Pillow's and shutil's errors have their reason elsewhere."""
    return f"{error.filename or 'writing'}: {error.strerror or ' '.join(map(str, error.args))}"


def is_of_memory(error: RuntimeError) -> bool:
    """Whether torch lacks memory, of a GPU or of the CPU."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _end(message: str) -> NoReturn:
    print("".join(f"error: {line}\n" for line in message.splitlines()), end="", file=sys.stderr)
    raise SystemExit(1) from None


def _use_utf8() -> None:
    """Names of files are UTF-8, whatever the locale says; a name that cannot be printed is printed escaped."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # for this process, begun again, and for those that it starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Around a command's main: a user's mistake ends it with its message and exit status 1, without a stack trace."""
    _use_utf8()
    try:
        with listening():
            yield
        sys.stdout.flush()
    except UserError as error:
        _end(str(error))
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's end would try once more
        raise SystemExit(1) from None
    except OSError as error:  # a full disk, a folder that cannot be written, a file where a folder belongs
        if not names_its_cause(error):
            raise
        kept = "; what was there before is as it was" if error.errno in FULL else ""
        _end(f"{in_words(error)}{kept}")
    except MemoryError as error:
        _end(f"not enough memory ({error}); lower batch, crop or data.*.resize" if str(error) else "not enough memory")
    except RuntimeError as error:  # torch's own kinds: of a GPU's memory, and of the CPU's
        if not is_of_memory(error):
            raise
        _end("not enough memory for the network; lower batch, crop or data.*.resize (of predict --size or --window)")
    except Interrupted as interrupted:
        print(f"stopped by {interrupted.name}", file=sys.stderr)
        raise SystemExit(interrupted.exit_status) from None
