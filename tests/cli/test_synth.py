"""The verb ``synth``: its options reach the generator, a sheet is drawn, what is missing is told."""

from pathlib import Path

import pytest
from tests.synth.photos import make_photos

from openexpose.cli import extras
from openexpose.cli.main import main
from openexpose.synth.shard_files import Origin, write_shard

SEEN: list[tuple] = []


@pytest.fixture(autouse=True)
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of two pictures of noise each."""
    SEEN.clear()

    def fake(job, out, *, workers, shards, cluster):
        SEEN.append((job, out, workers, shards, cluster))
        for k in shards or range(job.shards):
            yield write_shard(out / job.shard(k)[0], Origin(job.kind, job.seed, 2 * k, "b"), make_photos(job.kind, 2))

    monkeypatch.setattr("openexpose.synth.dataset.synth", fake)


def run(out: Path, *words: str) -> int:
    return main(["synth", "--out", str(out), "--shard-size", "2", "--seed", "7", *words])


def test_options_reach_the_generator_and_a_sheet_is_drawn(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, "--preset", "hands", "--count", "5", "--workers", "3") == 0
    ((job, out, workers, shards, cluster),) = SEEN
    assert (job.kind, job.count, job.shard_size, job.seed, out) == ("hands", 5, 2, 7, tmp_path)
    assert (workers, shards, cluster) == (3, None, None)
    assert capsys.readouterr().out.splitlines()[0] == f"5 pictures in 3 shards: {tmp_path}"
    assert sorted(p.name for p in tmp_path.glob("*.jpg")) == ["hands-7-sheet.jpg"]


def test_ranges_of_shards(tmp_path: Path, capsys) -> None:
    assert run(tmp_path, "--preset", "faces", "--count", "9", "--shards", "3:5") == 0
    assert SEEN[0][3] == range(3, 5)
    assert capsys.readouterr().out == f"3 pictures in 2 shards: {tmp_path}\n"
    assert not list(tmp_path.glob("*.jpg")), "the sheet is the first job's"
    assert run(tmp_path, "--preset", "faces", "--count", "9", "--shards", "0:2") == 0
    assert (tmp_path / "faces-7-sheet.jpg").is_file()


def test_video_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fake(job, out, *, body, assets, workers):
        SEEN.append((job.seed, job.number, out, workers))
        yield from range(250)

    monkeypatch.setattr("openexpose.synth.sequence.make_sequence", fake)
    assert run(tmp_path, "--preset", "video", "--count", "2", "--workers", "2") == 0
    assert [(7, 0, tmp_path, 2), (7, 1, tmp_path, 2)] == SEEN
    assert capsys.readouterr().out.splitlines()[1] == f"250 frames: {tmp_path / 'video-7-00001'}"


def test_a_cluster(tmp_path: Path, monkeypatch, capsys) -> None:
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    assert run(tmp_path, "--preset", "faces", "--count", "2", "--cluster", "tcp://far:8786") == 0
    assert SEEN[0][4] == "tcp://far:8786"
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "distributed" else name)
    assert run(tmp_path, "--preset", "faces", "--count", "2", "--cluster", "tcp://far:8786") == 2
    assert "pip install 'openexpose[cluster]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--preset", "body"], "--preset body without --count; expected how many pictures to render"),
        (["--preset", "body", "--count", "4", "--shards", "2"], "--shards 2; expected FIRST:END"),
        (["--preset", "body", "--count", "4", "--shards", "3:3"], "--shards 3:3; expected FIRST:END"),
        (["--preset", "body", "--count", "4", "--shards", "0:-1"], "--shards 0:-1; expected FIRST:END"),
        (["--preset", "video"], "--preset video with count None, workers 1; expected how many sequences"),
        (["--preset", "video", "--count", "1", "--shards", "0:1"], "--preset video with --shards; expected neither"),
        (["--preset", "test", "--shards", "0:1"], "--preset test with --seed and --shards; expected test-v1"),
    ],
)
def test_bad_input_is_one_sentence(words: list[str], told: str, tmp_path: Path, capsys) -> None:
    assert run(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"openexpose: {told}") and error.count("\n") == 1 and not SEEN
