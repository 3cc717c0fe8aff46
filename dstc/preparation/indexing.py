"""From folders to indexes: list what each domain holds, read every file once, and report all problems together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dstc.core.errors import UserError
from dstc.core.index import DomainIndex
from dstc.core.progress import progress
from dstc.core.randomness import generator
from dstc.core.taxonomy import Classes
from dstc.core.workers import read_ahead
from dstc.preparation.checks import Checked, Rules, check_pair
from dstc.preparation.label_rules import LabelRules
from dstc.preparation.layouts import Pair, list_images, list_pairs
from dstc.preparation.palettes import Palettes
from dstc.preparation.problems import Problem, refuse, refuse_lines


@dataclass(frozen=True)
class Domain:
    """One domain and split to be indexed: where its files lie, and what they must keep to.

    `folders` are as `dstc.core.index.root_folders` gives them: the data set, then those of `paths.unlabeled`; `parameter`
    is what the first is called in params.yaml, for messages.
    """

    name: str  # "source", "target_train" or "target_val"
    parameter: str
    layout: str
    split: str
    folders: tuple[Path, ...]
    classes: Classes
    labels: LabelRules
    labels_required: bool
    resize: tuple[int, int] | None = None
    held_out: int = 0

    @property
    def rules(self) -> Rules:
        near_sizes = self.layout == "gta5" and self.resize is not None
        return Rules(len(self.classes), self.labels, self.labels_required, near_sizes)


@dataclass(frozen=True)
class Indexed:
    """The indexes in the order of their domains, and what a person should know of the data though it is no problem."""

    indexes: tuple[DomainIndex, ...]
    notes: tuple[str, ...]


File = tuple[int, Pair]  # the number of its folder, and the pair


def index_domains(source: Domain, target_train: Domain, target_val: Domain, *, workers: int) -> Indexed:
    """Read every file of the domains with `workers` processes (0: this one). One UserError lists all problems found.

    A missing folder ends it before any file is read: whoever mistyped a path should not wait for 25,000 images.
    """
    domains = (source, target_train, target_val)
    listed = _list_all(domains)
    checked = [_check_all(domain, files, workers) for domain, files in zip(domains, listed, strict=True)]
    problems = [problem for results in checked for one in results for problem in one.problems]
    problems += [*_palette_problems(domains[:1], checked[:1]), *_palette_problems(domains[1:], checked[1:])]
    refuse(problems)
    refuse_lines(list(_without_a_class(domains, checked)))
    indexes = tuple(_index(domain, results) for domain, results in zip(domains, checked, strict=True))
    refuse_lines(_shared_names(*indexes[1:]))
    return Indexed(indexes, (*_notes(domains, checked), *_palettes_beside(checked), *_shared_contents(*indexes[1:])))


def _list_all(domains: Sequence[Domain]) -> list[list[File]]:
    problems: list[str] = []
    listed: list[list[File]] = [[] for _ in domains]
    for domain, files in zip(domains, listed, strict=True):
        for number, folder in enumerate(domain.folders):
            parameter = domain.parameter if number == 0 else f"paths.unlabeled[{number - 1}]"
            try:
                files += [(number, pair) for pair in _list(domain, number, folder)]
            except UserError as error:
                problems += [f"{parameter}: {line}" for line in str(error).splitlines()]
            except OSError as error:
                problems.append(f"{parameter}: {error.filename}: cannot be read ({error.strerror})")
    refuse_lines(list(dict.fromkeys(problems)))  # train and val share a folder, and one problem is told once
    return listed


def _list(domain: Domain, number: int, folder: Path) -> list[Pair]:
    if number > 0:
        return list_images(folder)
    pairs = list_pairs(domain.layout, folder, domain.split)
    if domain.held_out >= len(pairs):
        raise UserError(
            f"{folder}: holds {len(pairs)} images; data.source.held_out: {domain.held_out} would leave none"
        )
    # No seed of the user's: which images are held out is a property of the data set, as in the released code.
    order = generator(0, "held_out", domain.name).permutation(len(pairs))
    return [pairs[position] for position in sorted(order[domain.held_out :])]


def _check_all(domain: Domain, files: Sequence[File], workers: int) -> list[Checked]:
    check = partial(_check_one, domain.rules, domain.folders)
    results = read_ahead(check, files, workers, what=f"checking {domain.name}")
    checked = []
    with progress(total=len(files), desc=f"checking {domain.name}", unit="image") as bar:
        for result in results:
            checked.append(result)
            bar.update()
    return checked


def _check_one(rules: Rules, folders: Sequence[Path], file: File) -> Checked:
    number, pair = file
    return check_pair(rules, folders[number], number, pair)


def _index(domain: Domain, checked: Iterable[Checked]) -> DomainIndex:
    return DomainIndex(
        domain=domain.name,
        class_names=domain.classes.names,
        class_colors=domain.classes.colors,
        label_ids=dict(domain.labels.ids),
        label_colors=dict(domain.labels.colors),
        tolerance=domain.labels.tolerance,
        resize=domain.resize,
        entries=tuple(one.entry for one in checked if one.entry is not None),
    )


def _palette_problems(domains: Sequence[Domain], checked: Sequence[Sequence[Checked]]) -> Iterator[Problem]:
    """Of domains whose labels have one meaning."""
    palettes, own = Palettes(), any(domain.labels.named_in for domain in domains)
    for domain, results in zip(domains, checked, strict=True):
        for entry, palette in ((one.entry, one.palette) for one in results if one.palette):
            if entry is not None and entry.label is not None:
                yield from palettes.problems(domain.folders[entry.root] / entry.label, palette, own)


def _palettes_beside(checked: Sequence[Sequence[Checked]]) -> Iterator[str]:
    """Each data set's programs may color the same ids as they like, so this is no problem; but it may be one."""
    of_source = {index: color for one in checked[0] for index, color in one.palette.items()}
    of_target = {index: color for results in checked[1:] for one in results for index, color in one.palette.items()}
    for index in of_source.keys() & of_target.keys():
        if of_source[index] != of_target[index]:
            yield (
                f"label id {index} is {of_source[index]} in the source's palettes and {of_target[index]} in the target's; "
                "if it means different classes there, see data.own.target_labels"
            )
            return


def _without_a_class(domains: Sequence[Domain], checked: Sequence[Sequence[Checked]]) -> Iterator[str]:
    """A training on nothing but void would end with a loss of zero, and its scores would be undefined."""
    for domain, results in zip(domains, checked, strict=True):
        counts = [one.entry.pixels for one in results if one.entry is not None and one.entry.pixels]
        if counts and not any(map(any, counts)):
            yield f"{domain.parameter}: none of the {len(counts)} labels of {domain.name} holds a pixel of any class"


def _shared_names(train: DomainIndex, val: DomainIndex) -> list[str]:
    names = {entry.name for entry in train.entries}
    return [
        f"{entry.name}: is in both data.target.train and data.target.val; validation would see training images"
        for entry in val.entries
        if entry.name in names
    ]


def _shared_contents(train: DomainIndex, val: DomainIndex) -> Iterator[str]:
    """Copies are no problem: CamVid's usual split has one sequence in both, and still is what people compare with."""
    counts = Counter(entry.image_digest for entry in train.entries)
    shared = sum(entry.image_digest in counts for entry in val.entries)
    if shared:
        yield f"{shared} of {len(val)} val images are, byte for byte, train images too; the scores will be too good"
    copies = sum(counts.values()) - len(counts)
    if copies:
        yield f"{copies} target train images are copies of others, byte for byte"


def _notes(domains: Sequence[Domain], checked: Sequence[Sequence[Checked]]) -> Iterator[str]:
    for domain, results in zip(domains, checked, strict=True):
        turned = [one.entry.name for one in results if one.entry is not None and one.turned]
        if turned:
            yield (
                f"{domain.name}: {len(turned)} labeled images are turned by their EXIF orientation, such as {turned[0]}; "
                "their labels are taken for those of the turned images"
            )
        odd = sum(one.size_differs for one in results)
        if odd:
            yield f"{domain.name}: {odd} labels differ from their image's size by less than 1 % of the aspect; accepted"
        void = [
            one.entry for one in results if one.entry is not None and one.entry.pixels and not any(one.entry.pixels)
        ]
        if void:
            yield f"{domain.name}: {len(void)} labels are void throughout, the first that of {void[0].name}"
