"""Films, folders and painted pictures as the camera shows them, and what the whole model says about some of them."""

from __future__ import annotations

import collections
import contextlib
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError, AgentError, PayloadError
from slicebed_agent.media.ahead import Ahead
from slicebed_agent.media.folder import pack_folder
from slicebed_agent.media.plan import CheckPlan, Images, ShowPlan
from slicebed_agent.media.show import open_show
from slicebed_agent.media.transform import Transform
from slicebed_agent.model import codec
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.reference import References

FRAMES = 40
GREY = Transform(28, 28, (1 / 255,), (0.0,))


def _picture(number, height=48, width=64):
    """A bright square that wanders over a slope of colours: no two are alike."""
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack([rows * 2, columns * 2, np.full_like(rows, 90)], axis=-1).astype(np.uint8)
    left = number % (width - 8)
    picture[8:24, left : left + 8] = 255
    return picture


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    import av

    path = tmp_path_factory.mktemp("film") / "film"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 2_000_000
        for number in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_picture(number), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(5):
        Image.fromarray(_picture(9 * number)).save(pictures / f"{number}.{'png' if number % 2 else 'jpg'}")
    (pictures / "notes.txt").write_text("no picture")
    return pictures


@pytest.fixture
def executor(cnn14):
    @contextlib.contextmanager
    def opened(sha256):
        assert sha256 == cnn14.sha256
        with Executor(cnn14.path) as made:
            yield made

    return opened


@pytest.fixture
def check(cnn14):
    return CheckPlan(cnn14.sha256, cnn14.ends[:1], cnn14.ends[-1], GREY)


@contextlib.contextmanager
def _shown(plan, executor=None, references=None):
    show = open_show(plan, references or References(), executor)
    try:
        yield show
    finally:
        show.close()


def _all(show):
    frames = []
    while (frame := show.draw(len(frames))) is not None:
        assert len(frame) == 1
        frames.append(frame[0])
    return frames


def _close(one, two):
    return np.abs(one.astype(int) - two.astype(int)).mean() < 12


def test_a_video_is_shown_picture_by_picture(video):
    with _shown(ShowPlan(Images.VIDEO, 1, 0, file=video, loops=1)) as show:
        frames = _all(show)
    assert len(frames) == FRAMES
    assert all(frame.shape == (1, 48, 64, 3) and frame.dtype == np.uint8 for frame in frames)
    assert all(_close(frame[0], _picture(number)) for number, frame in enumerate(frames))


def test_a_video_loops_in_batches_of_the_asked_size(video):
    with _shown(ShowPlan(Images.VIDEO, 16, 0, file=video, height=24, width=32, loops=2)) as show:
        frames = _all(show)
        assert show.draw(9) is None
    assert [frame.shape for frame in frames] == [(16, 24, 32, 3)] * 5
    # 40 pictures: the third frame ends with the first eight of the second round.
    assert np.array_equal(frames[2][8:], frames[0][:8])


def test_pictures_of_frames_that_came_too_late_are_not_shown(video):
    with _shown(ShowPlan(Images.VIDEO, 1, 0, file=video, loops=1)) as show:
        assert _close(show.draw(0)[0][0], _picture(0))
        assert _close(show.draw(20)[0][0], _picture(20))
        assert _close(show.draw(21)[0][0], _picture(21))


def test_a_show_without_end_goes_on_until_it_is_closed(video):
    with _shown(ShowPlan(Images.VIDEO, 1, 0, file=video)) as show:
        assert all(show.draw(number) is not None for number in range(3 * FRAMES))
        threads = threading.active_count()
    assert threading.active_count() == threads - 1
    assert show.draw(3 * FRAMES) is None


def test_a_folder_is_shown_in_the_order_of_names(folder, tmp_path):
    packed = pack_folder(folder, tmp_path / "packed")
    with _shown(ShowPlan(Images.FOLDER, 1, 0, file=packed, loops=2)) as show:
        frames = _all(show)
    assert len(frames) == 10
    assert all(_close(frame[0], _picture(9 * (number % 5))) for number, frame in enumerate(frames))
    with _shown(ShowPlan(Images.FOLDER, 2, 0, file=packed, height=10, width=20)) as show:
        assert show.draw(0)[0].shape == (2, 10, 20, 3)


def test_a_folder_is_packed_alike_everywhere(folder, tmp_path):
    first = pack_folder(folder, tmp_path / "one")
    for each in folder.iterdir():
        each.touch()
    second = pack_folder(folder, tmp_path / "two")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert list(first.parent.iterdir()) == [first]
    with zipfile.ZipFile(first) as packed:
        assert packed.namelist() == ["0.jpg", "1.png", "2.jpg", "3.png", "4.jpg"]


def test_painted_pictures_are_eight_and_the_same_for_the_same_seed():
    def film(seed):
        with _shown(ShowPlan(Images.SYNTHETIC, 1, seed, height=90, width=160)) as show:
            return [show.draw(number)[0] for number in range(9)]

    frames = film(3)
    assert all(np.array_equal(one, two) for one, two in zip(frames, film(3), strict=True))
    assert len({frame.tobytes() for frame in frames}) == 8
    assert np.array_equal(frames[8], frames[0])
    assert not np.array_equal(frames[0], film(4)[0])


def test_some_pictures_of_a_video_are_checked_each_time_they_are_shown(video, check, executor, cnn14):
    """The answer of a chain, played by the whole model itself."""
    references = References()
    plan = ShowPlan(Images.VIDEO, 1, 0, check, video, loops=2)
    judged = []
    with executor(cnn14.sha256) as whole, _shown(plan, executor, references) as show:
        chain = whole.prepare(check.feeds, [check.answer], warm=False)
        for number in range(2 * FRAMES):
            answer = codec.encode(chain.run(GREY(show.draw(number))))
            agreement = show.judge(number, answer, "")
            assert show.judge(number, answer, "") is None, "a frame is judged once"
            if agreement is not None:
                judged.append(number)
                assert (agreement.images, agreement.labels_equal, agreement.labels_correct) == (1, 1, None)
                assert agreement.max_rel_error < 1e-5
        chain.release()
    assert len(judged) == 16
    assert judged[8:] == [number + FRAMES for number in judged[:8]]
    assert max(np.diff(judged[:8])) <= 6
    with _shown(plan, None, references):
        pass  # The answers were kept: no model is opened for the next run.


def test_of_a_batch_the_checked_pictures_are_compared(folder, tmp_path, check, executor):
    plan = ShowPlan(Images.FOLDER, 3, 0, check, pack_folder(folder, tmp_path / "packed"), loops=1)
    with executor(check.model_sha256) as whole, _shown(plan, executor) as show:
        chain = whole.prepare(check.feeds, [check.answer], warm=False)
        (answer,) = chain.run(GREY(show.draw(0)))
        chain.release()
        assert show.judge(0, codec.encode([answer]), "exit").labels_equal == 3
        assert show.draw(1) is None


@pytest.mark.parametrize("given", [b"", b"\xff\xff"])
def test_an_answer_that_is_none_is_refused(given, check, executor):
    with _shown(ShowPlan(Images.SYNTHETIC, 1, 0, check, height=30, width=30), executor) as show:
        show.draw(0)
        with pytest.raises(PayloadError):
            show.judge(0, given, "")


def test_digits_are_shown_as_ever(check, executor):
    with _shown(ShowPlan(Images.DIGITS, 4, 7, check), executor) as show:
        assert show.draw(3)[0].shape == (4, 28, 28, 1)
        assert np.array_equal(show.draw(3)[0], show.draw(3)[0])
        with executor(check.model_sha256) as whole:
            chain = whole.prepare(check.feeds, [check.answer], warm=False)
            agreement = show.judge(3, codec.encode(chain.run(show.draw(3))), "")
            chain.release()
    assert (agreement.labels_equal, agreement.images) == (4, 4)
    assert agreement.max_rel_error < 1e-5


def _refused(plan, executor=None):
    with pytest.raises(AgentConfigError) as caught, _shown(plan, executor):
        pass
    return str(caught.value)


def test_files_that_are_no_films_are_named(tmp_path, folder):
    text = tmp_path / "text"
    text.write_text("no film")
    assert "no video" in _refused(ShowPlan(Images.VIDEO, 1, 0, file=text))
    assert "no ZIP file" in _refused(ShowPlan(Images.FOLDER, 1, 0, file=text))
    assert "without a file" in _refused(ShowPlan(Images.VIDEO, 1, 0))
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert "no pictures" in _refused(ShowPlan(Images.FOLDER, 1, 0, file=tmp_path / "empty.zip"))
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as broken:
        broken.writestr("a.png", b"no picture")
    assert "a.png is no picture" in _refused(ShowPlan(Images.FOLDER, 1, 0, file=tmp_path / "broken.zip"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AgentConfigError, match="no pictures"):
        pack_folder(tmp_path / "empty", tmp_path)
    with pytest.raises(AgentConfigError, match="cannot be read"):
        pack_folder(tmp_path / "nowhere", tmp_path)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path):
    from PIL import Image

    Image.new("1", (30_000, 30_000)).save(tmp_path / "huge.png")
    packed = pack_folder(tmp_path, tmp_path / "packed")
    assert "huge.png is no picture" in _refused(ShowPlan(Images.FOLDER, 1, 0, file=packed))


def test_a_video_that_ends_in_the_middle_fails_by_name(video, tmp_path):
    whole = video.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[: len(whole) // 3])
    try:
        show = open_show(ShowPlan(Images.VIDEO, 1, 0, file=cut, loops=1), References(), None)
    except AgentError as error:
        assert "video" in str(error)  # noqa: PT017 - it may also be found out later
    else:
        with contextlib.closing(show), contextlib.suppress(AgentError):
            assert len(_all(show)) < FRAMES


def test_a_model_that_takes_other_pictures_is_refused(video, check, executor):
    large = CheckPlan(check.model_sha256, check.feeds, check.answer, Transform(32, 32, (1.0,), (0.0,)))
    told = _refused(ShowPlan(Images.VIDEO, 1, 0, large, video), executor)
    assert "the transformer gives float32 (1, 32, 32, 1)" in told
    without = CheckPlan(check.model_sha256, check.feeds, check.answer)
    assert "source.check.transform" in _refused(ShowPlan(Images.VIDEO, 1, 0, without, video), executor)


def test_a_film_that_decodes_too_slowly_is_named_not_waited_for():
    def slow():
        while True:
            time.sleep(0.3)
            yield 1

    ahead = Ahead(slow(), 2, "film")
    with (
        contextlib.closing(ahead),
        pytest.raises(AgentError, match=r"film: only \d\.\d frames/s can be decoded here; lower the rate"),
    ):
        collections.deque((ahead.take() for _ in range(20)), maxlen=0)


def test_what_goes_wrong_ahead_is_told_when_its_turn_comes():
    def film():
        yield 1
        yield 2
        raise AgentError("damaged", where="film")

    ahead = Ahead(film(), 8, "film")
    ahead.wait_ready(5)
    assert [ahead.take(), ahead.take()] == [1, 2]
    with pytest.raises(AgentError, match="film: damaged"):
        ahead.take()
    assert ahead.take() is None
    ahead.close()


def test_nothing_heavy_is_imported_before_it_is_needed():
    held = "import sys, slicebed_agent.media.show, slicebed_agent.media.folder\n"
    told = "print([name for name in ('av', 'PIL', 'tensorflow') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", held + told], text=True).strip() == "[]"
    folder = "import sys, slicebed_agent.media.folder\nprint([n for n in ('numpy', 'av', 'PIL') if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", folder], text=True).strip() == "[]"
