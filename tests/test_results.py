"""The figures in README and docs/ are those of the committed rows."""

from __future__ import annotations

import csv
import json
import math
import re

import pandas as pd
import pytest
from scipy import stats

from experiments.studies.budget import OVER_LABELS
from experiments.studies.levers import BASE, COMBINATION_2, LEVERS
from tests.pages import DOCS, README, Table, table
from tests.pipeline.project import ROOT

RESULTS = ROOT / "experiments/results"
PAGE = DOCS / "results.md"
WHOLE = "the whole method"
WITHOUT = "none"
WITH = "inverse_log"


def spread(values: pd.Series) -> str:
    values = values.dropna()
    return f"{values.mean():.1f} ± {values.std():.1f}" if len(values) > 1 else f"{values.mean():.1f}"


def gap(one: pd.Series, other: pd.Series) -> str:
    difference = (one - other).dropna()
    if len(difference) == 1:
        return f"{difference.mean():+.1f}"
    half = stats.t.ppf(0.975, len(difference) - 1) * difference.std() / math.sqrt(len(difference))
    return f"{difference.mean():+.1f} [{difference.mean() - half:+.1f}, {difference.mean() + half:+.1f}]"


def rows_of(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


def by_world(name: str, *columns: str) -> pd.DataFrame:
    """The better of a row's runs."""
    return rows_of(name).pivot_table(index=["world", "seed"], columns=list(columns), values="miou", aggfunc="max")


def by_group(name: str) -> pd.DataFrame:
    """The average of both branches, a column for each group."""
    return rows_of(name).pivot_table(index="seed", columns="group", values="average")


COMPARED = by_world("compare", "row", "class_weights")
VARIANTS = by_world("variants", "variant", "row").xs("average", axis=1, level="row")
CO_TRAINING = COMPARED["average", WITH]
BETTER_DOMAIN = COMPARED[[("source", WITHOUT), ("target", WITHOUT)]].max(axis=1)


# --- the built-in data set


def test_the_comparison_is_that_of_its_rows() -> None:
    whole_images = COMPARED["average_whole_images", WITHOUT]
    worlds = whole_images.count()
    series = {
        "source labels alone": COMPARED["source", WITHOUT],
        "target labels alone": COMPARED["target", WITHOUT],
        "the better of these two, by seed": BETTER_DOMAIN,
        "joint training, source + labeled target": COMPARED["joint", WITHOUT],
        "joint training with class weights": COMPARED["joint", WITH],
        "source-biased branch": COMPARED["source_biased", WITH],
        "target-biased branch": COMPARED["target_biased", WITH],
        "**co-training, average of both branches**": CO_TRAINING,
        "co-training without class weights, average": COMPARED["average", WITHOUT],
        f"... and without the differentiated combination ({worlds} of the worlds)": whole_images,
        "all target labels, without class weights": COMPARED["all_labels", WITHOUT],
    }
    assert len(COMPARED) == 5
    assert table(PAGE, "", "mIoU, percent", "co-training's average minus this") == [
        [title, spread(values), "" if values is CO_TRAINING else gap(CO_TRAINING, values)]
        for title, values in series.items()
    ]


def test_the_goals_are_compared_with_what_was_measured() -> None:
    assert [row[2] for row in table(PAGE, "co-training leads", "by")] == [
        gap(CO_TRAINING, BETTER_DOMAIN),
        gap(CO_TRAINING, COMPARED["joint", WITHOUT]),
        gap(VARIANTS[WHOLE], VARIANTS["every released side together"]),
    ]
    plain = COMPARED["average", WITHOUT]
    assert [row[1] for row in table(PAGE, "co-training without class weights, average, minus")] == [
        gap(plain, BETTER_DOMAIN),
        gap(plain, COMPARED["joint", WITHOUT]),
    ]


def test_readme_shows_the_committed_run_and_carla_to_camvid() -> None:
    run = json.loads((ROOT / "metrics/summary.json").read_text())["half"]
    branches = ("source_biased", "target_biased", "average")
    assert [row[1:] for row in table(README, "mIoU, percent")] == [
        *([f"{run[name]:.1f}", ""] for name in ("warm_up_source", "warm_up_target")),
        [f"{run['joint']:.1f}", of_so_many_seeds(best_joint())],
        ["not run", of_so_many_seeds(budget("joint", "pair", 2000))],
        ["not run", of_so_many_seeds(budget("co_training_paper", "average", SHORT))],
        *([f"{run[name]:.1f}", spread(budget("co_training", name, RECOMMENDED))] for name in branches),
    ]


def test_the_parts_of_the_method_are_those_of_their_rows() -> None:
    committed = by_group("parts")
    rows = table(PAGE, "", "as committed", "minus the whole method's")
    assert {row[0] for row in rows} == set(committed)
    for name, *cells in rows:
        expected = []
        for frame in (committed, VARIANTS):
            expected += [spread(frame[name]), "" if name == WHOLE else gap(frame[name], frame[WHOLE])]
        assert cells == expected, name


def test_the_trials_on_world_0_are_those_of_their_rows() -> None:
    trials = rows_of("trials_world_0").query("labels == 50")
    short = trials[trials.what.str.startswith("warmed up on the target") & (trials.iterations == 500)]
    assert [row[1] for row in table(PAGE, "trained on")] == [f"{score:.1f}" for score in short.miou]

    joint = trials[trials.what == "joint training"].set_index("iterations").miou
    co_trained = trials[trials.what == "co-training, averaged teachers, confidence weight"].set_index("iterations")
    series = [joint, co_trained.average, co_trained.source_biased]
    lengths = [(1400, 4000), (1200, 3000), (1200, 3000)]
    assert [row[1:] for row in table(PAGE, "", "shorter run")] == [
        [f"{float(values[length]):.1f} after {length} iterations" for length in both]
        for values, both in zip(series, lengths, strict=True)
    ]


def test_more_labels_are_those_of_their_rows() -> None:
    rows = rows_of("labels")
    names = ["warm_up_source", "warm_up_target", "source_biased", "target_biased", "average"]
    assert table(PAGE, "labeled images", "warm-up source") == [
        [str(size), *(spread(rows[rows.group == size][name]) for name in names)] for size in (20, 50, 200)
    ]


def test_class_weights_once_more_are_those_of_their_rows() -> None:
    committed, without = (by_group("versus")[name] for name in ("as committed", "co_train.class_weights=none"))
    rows = table(PAGE, "", "average of both branches", "minus the committed setting's")
    assert [row[1:] for row in rows] == [[spread(committed), ""], [spread(without), gap(without, committed)]]


# --- real images


CARLA = rows_of("carla_camvid").query("setting != 'earlier'")
PRESET = ("recommended", "average", 450)


def carla(setting: str, row: str, iterations: int = 450) -> pd.Series:
    found = CARLA[(CARLA.setting == setting) & (CARLA.row == row) & (CARLA.iterations == iterations)]
    return found.set_index("seed").miou.sort_index()


def test_the_settings_on_real_images_are_those_of_their_rows() -> None:
    settings = ["recommended", "released", "averaged_teachers", "plain"]
    branches = ["source_biased", "target_biased", "average"]
    assert [row[1:] for row in table(PAGE, "", "seeds", "source-biased")] == [
        [
            str(len(carla(setting, "average"))),
            *(spread(carla(setting, branch)) for branch in branches),
            "" if setting == "recommended" else gap(carla(*PRESET), carla(setting, "average")),
        ]
        for setting in settings
    ]


def test_the_baselines_on_real_images_are_those_of_their_rows() -> None:
    series = [
        carla("recommended", "source", 150),
        carla("recommended", "target", 150),
        *(carla("baseline", name) for name in ("joint", "joint_class_weights", "all_labels")),
    ]
    assert [row[1:] for row in table(PAGE, "", "seeds", "mIoU")] == [
        [str(len(values)), spread(values), gap(carla(*PRESET), values)] for values in series
    ]


def test_the_leads_seed_by_seed_are_those_of_their_rows() -> None:
    ahead_of = [
        carla("released", "average"),
        carla("baseline", "joint"),
        carla("baseline", "joint_class_weights"),
        carla("recommended", "target", 150),
    ]
    assert [row[2:5] for row in table(PAGE, "ahead of")] == [
        [f"{lead:.1f}" for lead in carla(*PRESET) - values] for values in ahead_of
    ]


# --- CARLA to CamVid, at settings that converge

BUDGET = rows_of("budget").query("data == 'carla_camvid'")
LINES = {
    "joint training": ("joint", "one"),
    "two jointly trained networks, averaged": ("joint", "pair"),
    "mean teacher": ("mean_teacher", "one"),
    "DSTC without additions": ("co_training_paper", "average"),
    "**DSTC, recommended setting**": ("co_training", "average"),
    "the same without unlabeled images": ("co_training_no_unlabeled", "average"),
    "all target labels": ("all_labels", "one"),
    "target labels alone": ("target", "one"),
}
RECOMMENDED, SHORT = 2000, OVER_LABELS["co_training"]  # iterations of it, after the warm-ups


def budget(method: str, network: str, iterations: int, weights: str = "averaged", labels: int = 15) -> pd.Series:
    wanted = {
        "method": method, "network": network, "iterations": iterations, "weights": weights, "labels": labels,
    }  # fmt: skip
    return BUDGET[(BUDGET[list(wanted)] == pd.Series(wanted)).all(axis=1)].set_index("seed").miou


def best_joint(labels: int = 15) -> pd.Series:
    """At the best by mean of those of its lengths that have the most seeds."""
    own = BUDGET.query("method == 'joint' and network == 'one' and weights == 'averaged' and labels == @labels")
    lengths = own.groupby("iterations").miou.agg(["count", "mean"]).query("count == count.max()")
    return budget("joint", "one", lengths["mean"].idxmax(), labels=labels)


def better_branch(method: str, iterations: int, labels: int = 15) -> pd.Series:
    branches = [budget(method, name, iterations, labels=labels) for name in ("source_biased", "target_biased")]
    return pd.concat(branches, axis=1).max(axis=1)


def of_so_many_seeds(values: pd.Series) -> str:
    return spread(values) + (" (one seed)" if len(values) == 1 else "")


def rows_of_budgets() -> Table:
    recommended, expected = budget("co_training", "average", RECOMMENDED), []
    for name, (method, network) in LINES.items():
        rows = BUDGET.query("method == @method and network == @network and weights == 'averaged' and labels == 15")
        for iterations, own in rows.groupby("iterations"):
            values = budget(method, network, iterations)
            is_it = method == "co_training" and iterations == RECOMMENDED
            expected.append([
                name,
                f"{own.total_iterations.iloc[0]:,}",
                str(len(values)),
                spread(values),
                spread(better_branch(method, iterations)) if network == "average" else "",
                spread(budget(method, network, iterations, "last")),
                f"{own.minutes.min():.0f}",
                "" if is_it else gap(recommended, values),
            ])  # fmt: skip
    return expected


def rows_of_seeds() -> Table:
    recommended, branch = budget("co_training", "average", RECOMMENDED), better_branch("co_training", RECOMMENDED)
    leads = [recommended - best_joint(), branch - best_joint(), recommended - budget("joint", "pair", 2000)]
    of_one = [[str(seed), *(f"{values[seed]:+.1f}" for values in leads)] for seed in recommended.index]
    return [*of_one, ["all but 0", *(spread(values.drop(0)) for values in leads)]]


def rows_of_labels() -> Table:
    numbers = sorted(BUDGET.query("method == 'co_training'").labels.unique())
    return [
        [
            str(labels),
            str(len(average)),
            *(spread(values) for values in (joint, average, branch)),
            gap(average, joint),
        ]
        for labels in numbers
        for joint in [budget("joint", "one", OVER_LABELS["joint"], labels=labels)]
        for average in [budget("co_training", "average", SHORT, labels=labels)]
        for branch in [better_branch("co_training", SHORT, labels)]
    ]


def rows_of_levers(study: str = "levers") -> Table:
    """The whole setting, then the levers by what they change of the average."""
    rows = rows_of(study).query("seed == 0 and weights == 'averaged' and network != 'one' and labels == 15")
    scores = rows[rows.method != f"{COMBINATION_2}, on another machine"].pivot(
        index="method", columns="network", values="miou"
    )  # fmt: skip
    scores = scores.sort_values("average", ascending=False, kind="stable")
    lines = [BASE, *(name for name in scores.index if name != BASE)]
    return [
        [
            name,
            *(f"{scores[column][name]:.1f}" for column in ("source_biased", "target_biased", "average")),
            "" if name == BASE else f"{scores.average[name] - scores.average[BASE]:+.1f}",
        ]
        for name in lines
    ]


def test_the_table_of_budgets_is_that_of_its_rows() -> None:
    assert table(PAGE, "", "iterations", "seeds") == rows_of_budgets()


def rows_of_unlabeled() -> Table:
    methods = {"recommended setting": "co_training", "the same without unlabeled images": "co_training_no_unlabeled"}
    networks = ("source_biased", "target_biased", "average")
    scores = {name: [budget(method, network, RECOMMENDED) for network in networks] for name, method in methods.items()}
    seeds = set.intersection(*(set(own[0].index) for own in scores.values()))
    rows = [[name, *(spread(values[values.index.isin(seeds)]) for values in own)] for name, own in scores.items()]
    return [
        *rows,
        ["the first minus the second", *(gap(one, other) for one, other in zip(*scores.values(), strict=True))],
    ]


def rows_of_branches_alone() -> Table:
    joint = best_joint()
    branches = {
        f"{name}-biased branch without unlabeled images": budget(
            "co_training_no_unlabeled", f"{name}_biased", RECOMMENDED
        )
        for name in ("target", "source")
    }
    return [
        ["joint training", spread(joint), ""],
        *([name, spread(own), gap(own, joint)] for name, own in branches.items()),
    ]


def test_what_the_branches_have_without_each_other_is_that_of_its_rows() -> None:
    assert table(PAGE, "one network, 15 labels, three seeds") == rows_of_branches_alone()
    alone, average = (budget("co_training_no_unlabeled", name, RECOMMENDED) for name in ("target_biased", "average"))
    assert f"both branches is {gap(average, alone)} points ahead of it." in " ".join(PAGE.read_text().split())
    readme = " ".join(README.read_text().split())
    assert f"`target_biased.pt`, which then learns nothing from the other branch, {spread(alone)}" in readme


def compared_in_fp32() -> pd.DataFrame:
    """What `fp32` has of 15 labels and 1,000 iterations after the warm-ups."""
    return rows_of("fp32").query("weights == 'averaged' and labels == 15 and iterations == 1000")


def in_fp32(method: str) -> pd.Series:
    """Of one network, by seed."""
    rows = compared_in_fp32().query("network == 'one'")
    return rows[rows.method == method].set_index("seed").miou


def rows_in_fp32() -> Table:
    names = {
        "joint": "joint training",
        "target": "labeled target images alone",
        "joint_within_images": "joint training on combination 2 and whole target images",
        "joint_after_warm_up": "joint training after the warm-up on the target",
        "joint_within_images_after_warm_up": "the same on combination 2 and whole target images",
        "all_labels": "all 468 labels of the target, without the source",
    }
    total = compared_in_fp32().groupby("method").total_iterations.first()
    joint = in_fp32("joint")
    return [
        [
            name,
            f"{total[method]:,}",
            str(len(own)),
            spread(own),
            "" if method == "joint" else gap(own, joint),
        ]
        for method, name in names.items()
        for own in [in_fp32(method)]
    ]


def test_one_network_in_fp32_is_that_of_its_rows() -> None:
    assert table(PAGE, "one network, in fp32", "iterations") == rows_in_fp32()
    text = " ".join(PAGE.read_text().split())
    alone = [in_fp32(method) - in_fp32("joint") for method in ("joint_within_images", "joint_after_warm_up")]
    told = [" and ".join(f"{difference[seed]:+.1f}" for difference in alone) for seed in (0, 1)]
    assert f"with seed 0 neither was ahead alone ({told[0]}), with seed 1 each was ({told[1]})." in text
    both = gap(in_fp32("joint_within_images_after_warm_up"), in_fp32("joint"))
    assert "[+" in both  # "ahead"
    assert all("[-" in gap(difference, 0 * difference) for difference in alone)  # "not shown"
    rows = compared_in_fp32()
    minutes = {method: own.minutes for method, own in rows.groupby("method")}
    assert f"took {minutes['joint_within_images_after_warm_up'].median():.0f} minutes of one core" in text
    assert f"joint training {minutes['joint'].median():.0f}." in text
    branch = rows[rows.method.eq("no unlabeled images") & rows.network.eq("target_biased")]
    assert (
        f"({branch.miou.item():.1f}, seed 0, after as many iterations). It took {branch.minutes.item():.0f} min" in text
    )
    assert "joint training is not ahead of the labeled target alone" in text
    assert in_fp32("joint").mean() < in_fp32("target").mean()
    assert f"All 468 labels of the target bring {spread(in_fp32('all_labels'))}:" in text


def rows_of_room() -> Table:
    """The average of both branches by labels, seed 0 in fp32."""
    rows = rows_of("fp32").query("seed == 0 and weights == 'averaged' and network == 'average'")
    scores = rows.pivot(index="labels", columns="method", values="miou")[["no unlabeled images", BASE]]
    return [
        [str(labels), *("" if pd.isna(score) else f"{score:.1f}" for score in own)] for labels, own in scores.iterrows()
    ]


def test_the_room_for_unlabeled_images_is_that_of_its_rows() -> None:
    rows = rows_of_room()
    assert table(PAGE, "labels, seed 0, in fp32") == rows
    without = {labels: float(score) for labels, score, _ in rows}
    more = f"{without['468'] - without['15']:.1f}"
    text = " ".join(PAGE.read_text().split())
    assert f"the average of both branches has {more} points more than with 15 labels (one seed, 1,600" in text
    best, fifty = in_fp32("all_labels")[0], budget("co_training", "average", SHORT, labels=50)[0]
    assert f"one network on all labels alone has {best:.1f} there, and in bf16 50 labels gave {fifty:.1f}." in text
    without_five, with_five = map(float, next(row[1:] for row in rows if row[0] == "5"))
    assert f"unlabeled images cost {without_five - with_five:.1f} points:" in text
    readme = " ".join(README.read_text().split())
    assert f"Their true labels, tried once at 1,600 iterations, brought {more} points." in readme


def test_what_unlabeled_images_bring_is_that_of_its_rows() -> None:
    assert table(PAGE, "with 2,600 iterations") == rows_of_unlabeled()


def test_the_table_of_labels_is_that_of_its_rows() -> None:
    assert table(PAGE, "labeled images", "seeds") == rows_of_labels()


def test_the_leads_of_each_seed_are_those_of_their_rows() -> None:
    assert table(PAGE, "seed", "average minus joint training") == rows_of_seeds()
    recommended, branch = budget("co_training", "average", RECOMMENDED), better_branch("co_training", RECOMMENDED)
    joint, pair = best_joint(), budget("joint", "pair", 2000)
    readme = " ".join(README.read_text().split())
    assert (
        f"the average after 2,600 iterations is {gap(recommended, joint)} points ahead of joint training after 2,000"
        in readme
    )
    behind = (COMPARED["joint", WITH] - CO_TRAINING).mean()
    assert (
        f"From random weights, an earlier setting was {behind:.1f} points behind one jointly trained network over five "
        "seeds." in readme
    )
    page = " ".join(PAGE.read_text().split())
    assert f"is {gap(branch, pair)} points ahead of that pair" in page
    assert f"and the better branch (picked by val), one network, {gap(branch, joint)}." in readme
    assert f"on the others the lead is {(recommended - joint).drop(0).mean():+.1f}." in readme
    assert f"co-training is {gap(recommended, pair)} points ahead of such a pair." in readme
    few, many = budget("co_training", "average", RECOMMENDED)[0], budget("joint", "one", 2000, labels=50)[0]
    assert f"15 labels do what joint training does with 50 ({few:.1f} and {many:.1f})" in readme
    fewest = (budget("co_training", "average", 1000, labels=5) - budget("joint", "one", 2000, labels=5)).mean()
    assert "with 5 there is no lead" in readme and abs(fewest) < 0.5
    without = budget("co_training_no_unlabeled", "average", RECOMMENDED)
    assert f"(`co_train.cross_supervision=false`): the average then has {spread(without)}, and" in readme
    minutes = BUDGET.query("network in ('average', 'one') and weights == 'averaged' and labels == 15")
    took = minutes.groupby(["method", "iterations"]).minutes.min()
    assert f"Co-training took {took['co_training', RECOMMENDED]:.0f} minutes of one core, joint training " \
        f"{took['joint', 2000]:.0f}." in readme  # fmt: skip


def test_the_levers_are_those_of_their_rows() -> None:
    assert table(PAGE, "lever") == rows_of_levers()
    assert table(PAGE, "lever, in fp32") == rows_of_levers("fp32")
    doubled = {row[0]: row[-1] for row in rows_of_levers("fp32")}["weight of the unlabeled terms doubled"]
    text = " ".join(PAGE.read_text().split())
    assert (
        f"doubling the weight of the unlabeled terms costs the average {doubled.lstrip('-')} points (one run)" in text
    )
    rows = rows_of("levers").query("seed == 0 and weights == 'averaged'")
    twice = rows[rows.network.eq("average") & rows.method.str.startswith(COMBINATION_2)].miou
    text = " ".join(PAGE.read_text().split())
    whole, alone = budget("co_training", "target_biased", SHORT), rows_of("levers").query(
        "method == @COMBINATION_2 and network == 'target_biased' and weights == 'averaged'"
    ).set_index("seed").miou  # fmt: skip
    assert f"{spread(whole)} instead of {spread(alone)} for that branch, {gap(whole, alone)}." in text
    assert f"was measured twice with seed 0, on two machines: {twice.min():.1f} and {twice.max():.1f}." in text
    assert set(rows.method) - set(LEVERS) == {
        f"{COMBINATION_2}, on another machine",
        "classes of labeled images pasted as well",  # whose parameter is gone
    }


def test_the_leads_of_the_former_setting_are_of_each_seed() -> None:
    ahead_of = [carla("baseline", "joint"), carla("baseline", "joint_class_weights")]
    assert all((carla(*PRESET) - values > 0).all() for values in ahead_of)  # "leads with each of three seeds"


# --- other pages


RELEASED_SIDE = {
    "alignment_counts_void": "void counts as a class of the alignment",
    "cross_supervision_start": "unlabeled images from the first iteration on",
    "teachers": "the branches themselves label (no averaged weights)",
    "confidence_threshold": "every pseudo-label counts fully (no confidence weight)",
    "paste_with_replacement": "source classes drawn with replacement",
    "update": "B1 steps before it labels for B2",
    "backbone_multiplier": "backbone at three times the learning rate",
    "schedule_iterations": "learning rate at 0.555 of its start at the end",
    "held_out": "a fiftieth of the source images held out",
}


OF_A_LEVER = {
    "cross_supervision_start": "unlabeled images from the first iteration on",
    "teachers": "the branches themselves label",
    "confidence_threshold": "every pseudo-label counts fully",
    "combination": COMBINATION_2,
    "color_augmentation": "no color augmentation",
    "class_weights": "no class weights in co-training",
    "teacher_batch_norm": "teachers with batch statistics",
    "schedule_iterations": "learning rate at 0.555 of its start at the end",
    "backbone_multiplier": "backbone at three times the learning rate",
}


def effects_on_carla_camvid() -> dict[str, str]:
    """By parameter, of what was measured."""
    levers = {name: of_lever[-1] for name, *of_lever in rows_of_levers()}
    last, averaged = (budget("co_training", "average", SHORT, weights) for weights in ("last", "averaged"))
    effects = {parameter: levers[lever] for parameter, lever in OF_A_LEVER.items() if lever in levers}
    return effects | {"weights": gap(last, averaged)}


def test_the_effects_of_the_deviations_on_carla_camvid_are_those_of_their_rows() -> None:
    expected = effects_on_carla_camvid()
    for _, _, parameter, _, shown, _ in table(DOCS / "deviations.md", "released code"):
        (effect,) = [effect for name, effect in expected.items() if f".{name}`" in parameter] or ["-"]
        assert shown == effect, parameter


def test_the_effects_of_the_deviations_are_those_of_their_rows() -> None:
    """The small setting has the released side of teacher_batch_norm, and class weights were measured in five worlds."""
    effects = {row[2]: row[3] for row in table(DOCS / "deviations.md", "released code")}
    expected = {name: gap(VARIANTS[variant], VARIANTS[WHOLE]) for name, variant in RELEASED_SIDE.items()}
    running = VARIANTS["pseudo-labels with running statistics (as in the presets)"]
    expected["teacher_batch_norm"] = gap(VARIANTS[WHOLE], running)
    expected["class_weights"] = gap(COMPARED["average", WITHOUT], CO_TRAINING)
    assert expected["update"] == "+0.0 [+0.0, +0.0]"  # the page says why
    expected["update"] = "0"
    for name, effect in expected.items():
        (shown,) = [shown for parameter, shown in effects.items() if f".{name}`" in parameter]
        assert shown.startswith(effect), name
    measured = {parameter for parameter, effect in effects.items() if "[" in effect}
    assert len(measured) == len(expected) - 1


def test_the_multipliers_are_those_of_their_rows() -> None:
    rows = rows_of("duplicated_optimizer")
    shown = table(DOCS / "deviations.md", "setting", "optimizer")
    assert len(shown) == len(rows.groupby(["setting", "optimizer"]))
    for setting, optimizer, *figures in shown:
        own = rows[(rows.setting == setting) & (rows.optimizer == optimizer)]
        assert figures == [f"{own.path.mean():.2f}", f"{own.distance.mean():.2f}", spread(own.miou)], optimizer


def test_what_makes_other_bytes_is_that_of_its_rows() -> None:
    rows = rows_of("determinism")
    runs = [name for name in rows.run.unique() if name != "one thread, no worker, cache"]
    assert table(DOCS / "reproducibility.md", "setting") == [
        [
            name,
            "equal" if own.same_bytes.all() else "different",
            *(["0"] * 3 if own.same_bytes.all() else [f"{own.weight.max():.1g}", f"{own.loss.max():.1g}"]),
            *([] if own.same_bytes.all() else [f"{own.miou.max():.2f}"]),
        ]
        for name in runs
        for own in [rows[rows.run == name]]
    ]


def test_the_kills_are_those_of_their_rows() -> None:
    kills = [row for row in csv.DictReader((ROOT / "tests/endurance/results.csv").open()) if row["struck"] == "yes"]
    same = [row for row in kills if row["same_bytes"] == "yes"]
    assert f"{len(same)} of {len(kills)} kills ended in the same bytes" in (DOCS / "reproducibility.md").read_text()


@pytest.mark.parametrize("row", table(DOCS / "performance.md", "", "straightforward"), ids=lambda row: row[0])
def test_a_speed_is_a_row_of_the_file_that_stands_beside_it(row: list[str]) -> None:
    *_, file = row
    cells = [[cell.strip() for cell in line.split("|")] for line in (ROOT / file.strip("`")).read_text().splitlines()]
    assert row[1:4] in [line[2:5] for line in cells]


def differences(rows: pd.DataFrame, *bases: float) -> set[str]:
    return {f"{score - base:+.1f}" for score in rows.average.dropna() for base in bases}


def test_every_gain_of_an_idea_is_a_difference_of_rows() -> None:
    """Looser than the others: which rows a figure is of is said in words there."""
    rows = rows_of("ideas").set_index("idea")
    world_0, real = rows[rows.setting == "world 0"], rows[rows.setting == "carla_camvid"]
    weights = "class weights, 1 / ln(1.1 + share)"
    plain = carla("plain", "average")[0]
    parts = by_group("parts")
    whole_images = "no differentiated combination (both branches see combination 1)"
    built_in = differences(world_0, world_0.average["nothing changed"], world_0.average[weights])
    built_in |= {gap(VARIANTS[name], VARIANTS[WHOLE]) for name in VARIANTS}
    built_in |= {gap(VARIANTS[WHOLE], VARIANTS[name]) for name in VARIANTS}
    built_in |= {gap(CO_TRAINING, COMPARED["average", WITHOUT]), gap(parts[whole_images], parts[WHOLE])}
    for branch in ("source_biased", "target_biased"):
        scores = world_0[branch]
        built_in.add(f"{scores['the second of two rounds'] - scores['nothing changed']:+.1f}")
    in_camvid = differences(real, plain, real.average[weights])
    in_camvid |= {f"{carla(name, 'average')[0] - plain:+.1f}" for name in ("averaged_teachers", "recommended")}

    figure = re.compile(r"[+-]\d+\.\d(?: \[[^]]+\])?")
    found = 0
    for idea, first, second, _ in table(DOCS / "tried_ideas.md", "idea"):
        for cell, known in ((first, built_in), (second, in_camvid)):
            found += len(figure.findall(cell))
            assert set(figure.findall(cell)) <= known, idea
    assert found > 30
