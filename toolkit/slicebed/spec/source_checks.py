"""What must hold of an experiment's camera: its pictures' file and size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed.spec.model_checks import beside
from slicebed.spec.models import Images
from slicebed.spec.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slicebed.spec.document import Document

# Which images bring a file, and under which key.
_FILES = {Images.VIDEO: "video", Images.FOLDER: "folder"}
_SIZED = (Images.FOLDER, Images.SYNTHETIC)


def source_problems(document: Document) -> list[Problem]:
    """Every mistake between the keys of the camera."""
    source = document.data.get("source")
    if not isinstance(source, dict):
        return []
    given = [images for images, key in _FILES.items() if source.get(key) is not None]
    asked = source.get("images")
    if asked is None:
        asked = given[0] if given else None
    if asked is not None and asked not in list(Images):
        return []
    images = None if asked is None else Images(asked)
    return [*_file_problems(document, source, images), *_size_problems(document, source, images)]


def _file_problems(document: Document, source: dict[str, object], images: Images | None) -> Iterator[Problem]:
    for kind, key in _FILES.items():
        named = source.get(key)
        if named is None and images is kind:
            yield Problem(document.value_mark(("source",)), f"images: {kind}, but no {key}", f"{key}: PATH")
        if named is not None and images is not kind:
            mark = document.key_mark(("source", key))
            yield Problem(mark, f"{key} besides images: {images}", f"one of the two, or images: {kind}")
        elif isinstance(named, str) and named and "\0" not in named:
            path = beside(document, named)
            if not (path.is_file() if kind is Images.VIDEO else path.is_dir()):
                what = f'{key}: no such {"file" if kind is Images.VIDEO else "folder"} "{named}"'
                allowed = "a path relative to this file; make video brings experiments/media/bigbuckbunny.mp4"
                yield Problem(document.value_mark(("source", key)), what, allowed)


def _size_problems(document: Document, source: dict[str, object], images: Images | None) -> Iterator[Problem]:
    if source.get("resolution") is None and images in _SIZED:
        yield Problem(document.value_mark(("source",)), f"images: {images} without a size", "resolution: 1280x720")
    if source.get("resolution") is not None and not (images and images.are_pictures):
        mark = document.key_mark(("source", "resolution"))
        yield Problem(mark, "resolution of images that have the model's", f"with images: {', '.join(_pictures())}")
    if source.get("loops") is not None and images not in _FILES:
        mark = document.key_mark(("source", "loops"))
        yield Problem(mark, "loops of images that do not end", f"with images: {', '.join(_FILES)}")


def _pictures() -> list[str]:
    return [images.value for images in Images if images.are_pictures]
