"""How MMLU groups its 57 subjects (`categories.py` of the original), for `subcat_acc` and `cat_acc`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SUBCATEGORIES: dict[str, tuple[str, ...]] = {
    name: tuple(subjects.split())
    for name, subjects in {
        "math": "abstract_algebra college_mathematics elementary_mathematics high_school_mathematics "
        "high_school_statistics",
        "health": "anatomy clinical_knowledge college_medicine human_aging medical_genetics nutrition "
        "professional_medicine virology",
        "physics": "astronomy college_physics conceptual_physics high_school_physics",
        "business": "business_ethics management marketing",
        "biology": "college_biology high_school_biology",
        "chemistry": "college_chemistry high_school_chemistry",
        "computer science": "college_computer_science computer_security high_school_computer_science machine_learning",
        "economics": "econometrics high_school_macroeconomics high_school_microeconomics",
        "engineering": "electrical_engineering",
        "philosophy": "formal_logic logical_fallacies moral_disputes moral_scenarios philosophy world_religions",
        "other": "global_facts miscellaneous professional_accounting",
        "history": "high_school_european_history high_school_us_history high_school_world_history prehistory",
        "geography": "high_school_geography",
        "politics": "high_school_government_and_politics public_relations security_studies us_foreign_policy",
        "psychology": "high_school_psychology professional_psychology",
        "culture": "human_sexuality sociology",
        "law": "international_law jurisprudence professional_law",
    }.items()
}
CATEGORIES: dict[str, tuple[str, ...]] = {
    "STEM": ("physics", "chemistry", "biology", "computer science", "math", "engineering"),
    "humanities": ("history", "philosophy", "law"),
    "social sciences": ("politics", "culture", "economics", "geography", "psychology"),
    "other (business, health, misc.)": ("other", "business", "health"),
}


def grouped_accuracy(hits: Mapping[str, Sequence[bool]]) -> dict[str, object]:
    """The original's metrics.json from which questions of each subject were answered: micro averages over questions.

    Subjects that MMLU does not know count in `average_acc` alone; groups without questions are left out.
    """
    by_subcategory = {
        name: [hit for subject in subjects for hit in hits.get(subject, [])] for name, subjects in SUBCATEGORIES.items()
    }
    by_category = {name: [hit for part in parts for hit in by_subcategory[part]] for name, parts in CATEGORIES.items()}
    return {
        "average_acc": _share([hit for part in hits.values() for hit in part]),
        "subcat_acc": {name: _share(found) for name, found in by_subcategory.items() if found},
        "cat_acc": {name: _share(found) for name, found in by_category.items() if found},
    }


def _share(hits: list[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
