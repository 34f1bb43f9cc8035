"""The runner: what is counted, what is refused, which cases are shown."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.evaluation.record import Measured, Mesh, Metric, Prediction, Protocol, Result, Subject
from openexpose.evaluation.run import OwnSystem, System, choose_cases, evaluate, read_picture

ERROR = Metric("error", "mm", "the joint's x")


class Numbers(System):
    """Predicts each subject's number; None has no answer, a text is an unusable one."""

    def __init__(self, numbers: dict[str, float | str | None]) -> None:
        self.name, self.notes, self.numbers = "numbers", ("what to know",), numbers
        self.prepared: list[str] = []

    def prepare(self, subjects: list[Subject]) -> None:
        self.prepared = [subject.name for subject in subjects]

    def __call__(self, subject: Subject) -> Prediction | None:
        number = self.numbers[subject.name]
        if isinstance(number, str):
            raise InputError(number, "a number")
        if number is None:
            return None
        return Prediction(joints_m=np.full((1, 3), number), joint_names=("nose",), seconds=2)


def measure(subject: Subject, prediction: Prediction | None) -> Measured:
    if prediction is None or prediction.joints_m is None:
        return Measured({})
    return Measured({"error": prediction.joints_m[:, 0]}, {"error": ("extra",)}, kept=np.ones(1))


def protocol(*names: str, **changes) -> Protocol:
    subjects = [Subject(name, "set") for name in names]
    return replace(Protocol("toy", "Toy", (ERROR,), "error", ("a note",), subjects, measure), **changes)


def test_everything_without_a_number_is_counted_with_its_reason() -> None:
    system = Numbers({"a": 1.0, "b": None, "c": "half a file"})
    report = evaluate(protocol("a", "b", "c", skipped={"d": "no picture"}), [system], Path("somewhere/data"))
    result = report.results[0]
    assert report.subjects == 4 and report.skipped == {"d": "no picture"} and report.data == "data"
    assert result.skipped["b"] == "no answer" and "half a file" in result.skipped["c"]
    assert {group: list(values) for (_, group), values in result.values.items()} == {"set": ["a"], "extra": ["a"]}
    assert result.seconds == {"a": 2} and list(result.kept) == ["a"]
    assert report.notes == ("a note", "what to know")


def test_a_limit_is_told_and_the_system_knows_all_subjects() -> None:
    system = Numbers({"a": 1.0, "b": 2.0})
    report = evaluate(protocol("a", "b"), [system], Path(), limit=1)
    assert report.subjects == 1 and "first 1 of 2" in report.notes[-1] and system.prepared == ["a", "b"]
    with pytest.raises(InputError, match="a limit of 0"):
        evaluate(protocol("a"), [system], Path(), limit=0)


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(InputError, match="no picture"):
        evaluate(protocol(skipped={"d": "no picture"}), [Numbers({})], Path())
    with pytest.raises(InputError, match=r"not one usable answer of numbers.*no answer"):
        evaluate(protocol("a", "b"), [Numbers({"a": None, "b": None})], Path())


def test_a_truth_with_nan_is_refused() -> None:
    bad = Subject("a", "set", joints_m=np.full((1, 3), np.nan), joint_names=("nose",))
    with pytest.raises(InputError, match="a: joints_m holds NaN"):
        evaluate(protocol(subjects=[bad]), [Numbers({"a": 1.0})], Path())


def test_subjects_that_do_not_concern_a_system_are_no_failures() -> None:
    class WholeOnly(Numbers):
        def concerns(self, subject: Subject) -> bool:
            return subject.name != "b"

    result = evaluate(protocol("a", "b"), [WholeOnly({"a": 1.0, "b": None})], Path()).results[0]
    assert not result.skipped and list(result.values["error", "set"]) == ["a"]


def test_finish_sees_the_whole_result() -> None:
    def finish(result: Result) -> None:
        values = result.values["error", "set"]
        result.values["error", "pairs"] = {"a-b": values["a"] + values["b"]}

    report = evaluate(protocol("a", "b", finish=finish), [Numbers({"a": 1.0, "b": 2.0})], Path())
    assert report.results[0].values["error", "pairs"]["a-b"] == 3.0


@pytest.mark.parametrize("more", [False, True])
def test_cases_are_the_best_the_median_and_the_worst(more: bool) -> None:
    numbers = {name: float(k) for k, name in enumerate("fabcdeghij")}
    toy = protocol(*numbers, metrics=(replace(ERROR, more_is_better=more),))
    system = Numbers(numbers)
    cases = choose_cases(evaluate(toy, [system], Path()), toy, system, worst=2)
    found = {rank: [case.value for case in cases if case.rank == rank] for rank in ("best", "median", "worst")}
    expected = {"best": [0.0, 1.0, 2.0], "median": [4.0, 5.0, 6.0], "worst": [9.0, 8.0]}
    mirrored = {rank: [9.0 - value for value in values] for rank, values in expected.items()}
    assert found == (mirrored if more else expected)


def test_a_subject_without_a_picture_is_told() -> None:
    with pytest.raises(InputError, match="a without a picture"):
        read_picture(Subject("a", "set"))
    with pytest.raises(InputError, match="a: a picture that does not decode"):
        read_picture(Subject("a", "set", image=b"no picture"))


def test_the_body_network_alone_is_not_asked_about_lone_parts() -> None:
    class Predictor:
        refines = False

        class body_model:  # noqa: N801
            name = "freebody"

    whole, hand = Subject("a", "set"), Subject("b", "set", part="left-hand")
    alone, main = OwnSystem(Predictor(), attention=False), OwnSystem(Predictor())  # type: ignore[arg-type]
    assert alone.concerns(whole) and not alone.concerns(hand) and main.concerns(hand)


def test_two_subjects_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="2 subjects called 'b'"):
        evaluate(protocol("a", "b", "b"), [Numbers({"a": 1.0, "b": 2.0})], Path())


def test_means_over_fewer_are_told() -> None:
    def some(subject: Subject, prediction: Prediction | None) -> Measured:
        values = {"error": np.ones(1), "other": np.full(1, np.nan if subject.name in "bd" else 2.0)}
        return Measured({} if prediction is None else values)

    metrics = (ERROR, Metric("other", "mm", "it is there for some"), Metric("none", "mm", "nobody has it"))
    subjects = [
        *(Subject(name, "set") for name in "abc"),
        Subject("d", "set", keypoints_px={"face": np.ones((68, 3))}),  # other labels: no wonder
        Subject("e", "set", keypoints_px={"face": np.zeros((68, 3))}),  # unlabelled
    ]
    toy = protocol(metrics=metrics, subjects=subjects, measure=some)
    notes = evaluate(toy, [Numbers({"a": 1.0, "b": 1.0, "c": None, "d": 1.0, "e": 1.0})], Path()).notes
    assert [note for note in notes if "only" in note] == [
        "numbers: only 2 of 3 subjects with an answer and with such labels count in 'other'; the others lack points "
        "of it, in the labels or in the answer."
    ]


def test_an_infinite_number_is_no_answer() -> None:
    def far(subject: Subject, prediction: Prediction | None) -> Measured:
        return Measured({"error": np.array([np.inf if subject.name == "b" else 1.0])} if prediction else {})

    result = evaluate(protocol("a", "b", measure=far), [Numbers({"a": 1.0, "b": 1.0})], Path()).results[0]
    assert list(result.values["error", "set"]) == ["a"] and "infinite" in result.skipped["b"]


def test_a_true_mesh_that_does_not_read_is_counted() -> None:
    def reading(subject: Subject, prediction: Prediction | None) -> Measured:
        return Measured(
            {} if prediction is None or subject.mesh is None else {"error": subject.mesh().vertices_m[:, 0]}
        )

    def broken() -> Mesh:
        raise InputError("'b.ply', which does not read", "a mesh")

    meshes = {"a": lambda: Mesh(np.ones((1, 3)), np.zeros((0, 3), int)), "b": broken}
    subjects = [Subject(name, "set", mesh=mesh) for name, mesh in meshes.items()]
    toy = protocol(subjects=subjects, measure=reading)
    result = evaluate(toy, [Numbers({"a": 1.0, "b": 1.0})], Path()).results[0]
    assert list(result.values["error", "set"]) == ["a"] and "b.ply" in result.skipped["b"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prediction(joints_m=np.full((1, 3), np.nan), joint_names=("nose",)), "NaN"),
        (
            lambda: Prediction(joints_m=np.zeros((2, 3)), joint_names=("nose", "nose")),
            "two predicted joints called nose",
        ),
        (lambda: Prediction(joints_m=np.full((1, 3), 1e200), joint_names=("nose",)), "away"),
        (lambda: Prediction(keypoints_px=np.full((144, 2), np.inf)), "infinity"),
        (lambda: Prediction(score=float("nan")), "score"),
        (lambda: Mesh(np.full((3, 3), 1e200), np.array([[0, 1, 2]])), "away"),
        (lambda: Mesh(np.zeros((3, 3)), np.array([[0.0, 1.0, 2.0]])), "whole numbers"),
    ],
)
def test_absurd_answers_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"landmarks_m": np.full((7, 3), np.nan)}, "landmarks_m holds NaN"),
        ({"joints_m": np.zeros((2, 3)), "joint_names": ("nose",)}, "2 joints with 1 names"),
        ({"box_xyxy_px": np.array([5.0, 0.0, 5.0, 9.0])}, "has no area"),
    ],
)
def test_faulty_truths_are_named(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"a: .*{message}"):
        evaluate(protocol(subjects=[Subject("a", "set", **changes)]), [Numbers({"a": 1.0})], Path())
