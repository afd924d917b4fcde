"""Pictures that a camera cannot show are found before a host is touched, by the user's own names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from slicebed.errors import SpecError
from slicebed.run.pictures import in_users_words, pictures_of
from slicebed.spec.experiment import Source
from slicebed.spec.models import Images


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "photos"
    made.mkdir()
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("a.png", "b.jpg"):
        Image.fromarray(noise).save(made / name)
    return made


def camera(folder):
    return Source(10.0, 1, 0, 2, Images.FOLDER, file=folder, height=32, width=32, place="my.yml:7:3")


def test_a_folder_of_pictures_is_one_file(folder):
    packed = pictures_of(camera(folder))
    assert packed is not None
    assert packed.path.suffix == ".zip"
    assert packed.sha256 == packed.path.stem


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("a.png", lambda _: b"no picture", "a.png is no picture of a format that is known"),
        ("b.jpg", lambda data: data[: len(data) // 2], "b.jpg is no picture: image file is truncated"),
    ],
)
def test_a_broken_picture_is_named(folder, name, spoil, said):
    (folder / name).write_bytes(spoil((folder / name).read_bytes()))
    with pytest.raises(SpecError) as refused:
        pictures_of(camera(folder))
    assert str(refused.value).startswith(f"my.yml:7:3: {folder}: {said}")
    assert str(refused.value).endswith("; take it out of the folder")


def test_what_a_host_says_of_a_film_names_the_users_file(tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no film")
    pictures = pictures_of(Source(10.0, 1, 0, 2, Images.VIDEO, file=film))
    said = f"refused (/var/lib/slicebed/models/{pictures.sha256}.film: no video: invalid data; check source.video"
    assert in_users_words(said, pictures) == f"refused ({film}: no video: invalid data; check source.video"
    assert in_users_words(said, None) == said
