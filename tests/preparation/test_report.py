from dstc.core.index import DomainIndex, Entry
from dstc.preparation.report import class_table, remarks

NAMES = ("road", "sky", "pole")


def entry(number: int, *pixels: int, label: str | None = None, size: tuple[int, int] = (20, 10)) -> Entry:
    name = f"{number}.png"
    return Entry(name, f"{number:016}", *size, f"l/{name}", label or f"{number + 100:016}", tuple(pixels))


def domain(name: str, *entries: Entry) -> DomainIndex:
    return DomainIndex(name, NAMES, ((1, 1, 1),) * 3, {0: 0}, entries)


GOOD = [entry(number, 100, 90, 10) for number in range(4)]


def told(*, source=GOOD, train=GOOD, val=GOOD) -> list[str]:
    return remarks(domain("source", *source), domain("target_train", *train), domain("target_val", *val))


def test_the_table_has_each_class_with_its_share_and_the_number_of_labels_that_hold_it() -> None:
    mixed = domain("source", entry(0, 150, 50, 0), entry(1, 200, 0, 0), Entry("u.png", "0" * 16, 20, 10))
    assert class_table([mixed, domain("target_val")]).splitlines() == [
        "class  source     target_val",
        "road   88 % in 2  -",
        "sky    12 % in 1  -",
        "pole   -          -",
    ]


def test_data_without_anything_odd_gives_no_remark() -> None:
    assert told() == []


def test_classes_of_few_pixels_or_few_images_are_rare_but_not_in_val() -> None:
    few = [entry(0, 100, 90, 10), *(entry(number, 100, 100, 0) for number in range(1, 4))]
    assert told(source=few) == ["source: in few pixels or few labels, so hardly learnt from it: pole (1.2 % in 1)"]
    small = [entry(number, 100, 99, 0 if number else 1) for number in range(4)]
    assert told(train=small) == [
        "target_train: in few pixels or few labels, so hardly learnt from it: pole (0.13 % in 1)"
    ]
    assert told(val=small) == []


def test_a_class_that_only_val_shows_cannot_be_learnt() -> None:
    without = [entry(number, 100, 100, 0) for number in range(4)]
    expected = "target_val asks for pole, which no label of source or target_train shows"
    assert told(source=without, train=without) == [expected]


def test_files_that_look_wrong_are_named() -> None:
    void = [*GOOD, entry(7, 5, 5, 1)]
    assert told(val=void) == ["target_val: 1 labels are more than 90 % void: 7.png"]
    alone = [*GOOD, *(entry(number, 200, 0, 0) for number in range(5, 9))]
    assert told(val=alone) == ["target_val: 4 labels hold one class alone: 5.png, 6.png, 7.png, ..."]
    shared = [*GOOD, entry(8, 100, 90, 10, label=GOOD[0].label_digest)]
    assert told(val=shared) == ["target_val: 1 labels are, byte for byte, those of other images: 8.png"]
    wide = [*(entry(number, 100, 90, 10) for number in range(20)), entry(30, 200, 180, 20, size=(40, 10))]
    assert told(val=wide) == ["target_val: 1 images have a size of their own: 30.png"]


def test_copies_of_an_image_with_their_label_are_not_told_as_shared_labels() -> None:
    copy = Entry("copy.png", GOOD[0].image_digest, 20, 10, "l/copy.png", GOOD[0].label_digest, GOOD[0].pixels)
    assert told(val=[*GOOD, copy]) == []
