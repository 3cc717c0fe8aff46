"""The studies by name, which is that of their rows in experiments/results."""

from experiments.studies import budget, compare, fp32, levers, questions, variants
from experiments.study import SCORED, Study
from experiments.tables import Layout

# Rows that no job here makes. `carla_camvid` had other settings than the preset of that name has now. The next two compare
# weights and bytes of two runs, not scores over seeds, and were measured by experiments/NAME.py of commit 81152f6; that
# workers, the cache and interruptions change no byte is tested. The other two are trials by hand.
MEASURED_BEFORE = {
    "carla_camvid": Study(
        "real images with the settings of commit 71ee4f7, far from converged (rows only; see budget)",
        ("setting", "row", "iterations", "seed", "labels", "miou", "best_on_val", "minutes"),
        Layout(("setting", "row", "iterations"), base="recommended, average, 450", base_first=True),
    ),
    "duplicated_optimizer": Study(
        "how near a backbone multiplier comes to the released optimizer (rows only)",
        ("setting", "seed", "optimizer", "loss", "miou", "path", "distance", "cosine"),
        Layout(
            lines=("setting", "optimizer"),
            measures=("loss", "miou", "path", "distance", "cosine"),
            decimals={"loss": 3, "path": 2, "distance": 2, "cosine": 2},
        ),
    ),
    "determinism": Study(
        "what changes bytes, with the same seed (rows only)",
        ("run", "stage", "torch", "same_bytes", "weight", "loss", "miou"),
    ),
    "ideas": Study(
        "ideas to make co-training better, single seeds (rows only)",
        ("setting", "seed", "iterations", "idea", "parameters", *SCORED),
    ),
    "trials_world_0": Study(
        "earlier trials on world 0, single seeds (rows only)",
        ("labels", "what", "cross_supervision_from", "student_batch_norm", "teacher_batch_norm", "learning_rate",
         "batch_of_each_part", "iterations", *SCORED, "miou"),
    ),
}  # fmt: skip
STUDIES: dict[str, Study] = {
    "budget": budget.STUDY,
    "levers": levers.STUDY,
    "fp32": fp32.STUDY,
    "compare": compare.STUDY,
    "variants": variants.STUDY,
    **questions.STUDIES,
    **MEASURED_BEFORE,
}
