"""Videos, decoded by PyAV: any container and codec that its FFmpeg knows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentConfigError, AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slicebed_agent.media.reel import Shown

# Decoding on is as fast as looking for the key picture before, as these are seldom further apart.
_SEEK_S: Final = 10.0


class VideoReel:
    """Pictures of a video, known by their time stamps."""

    def __init__(self, path: Path, size: tuple[int, int] | None) -> None:
        """Open it once to see that it is one.

        Args:
            path: of the video.
            size: height and width; None: the video's own.

        Raises:
            AgentConfigError: it is no video.
        """
        self._path = path
        with self._opened() as (_, stream):
            own = (int(stream.height), int(stream.width))
        if min(own) < 1:
            raise AgentConfigError("a video of no size", where=str(path), mend="check source.video")
        self.size = own if size is None else size

    def once(self) -> Iterator[Shown]:
        """All pictures, in the order in which they are shown.

        Raises:
            AgentError: the file is damaged.
        """
        with self._opened() as (container, stream):
            for frame in container.decode(stream):
                yield self._shown(frame)

    def spread(self, count: int) -> list[Shown]:
        """Pictures at evenly spread times.

        Raises:
            AgentError: the file is damaged.
            AgentConfigError: it has no time stamps, or does not tell how long it is.
        """
        found: dict[int, Shown] = {}
        with self._opened() as (container, stream):
            begin, length = stream.start_time or 0, self._length(container, stream)
            frames, position = container.decode(stream), begin
            for target in (begin + length * (2 * place + 1) // (2 * count) for place in range(count)):
                if float((target - position) * stream.time_base) > _SEEK_S:
                    container.seek(target, stream=stream)
                    frames = container.decode(stream)
                for frame in frames:
                    position = frame.pts if frame.pts is not None else position
                    if position >= target:
                        found[position] = self._shown(frame)
                        break
        return list(found.values())

    def _shown(self, frame: Any) -> Shown:
        if frame.pts is None:
            raise self._wrong("a picture without a time stamp")
        height, width = self.size
        # One thread: where a picture is divided among several, their edges need not come out alike each time.
        small = frame.reformat(width=width, height=height, format="rgb24", threads=1)
        return frame.pts, small.to_ndarray()

    def _length(self, container: Any, stream: Any) -> int:
        if stream.duration is not None:
            return int(stream.duration)
        if container.duration is None:
            raise self._wrong("nobody knows how long it is")
        return int(container.duration / 1_000_000 / stream.time_base)

    def _wrong(self, what: str) -> AgentConfigError:
        return AgentConfigError(
            what, where=str(self._path), mend="write it anew: ffmpeg -i VIDEO -c:v libx264 -pix_fmt yuv420p NEW.mp4"
        )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        import av  # noqa: PLC0415 - most agents never see a video

        try:
            # A playlist must not make the agent open other files, or addresses.
            container = av.open(str(self._path), options={"protocol_whitelist": "file"})
        except (OSError, ValueError) as error:
            raise AgentConfigError(f"no video: {error}", where=str(self._path), mend="check source.video") from error
        with container:
            if not container.streams.video:
                raise AgentConfigError("no pictures in it", where=str(self._path), mend="check source.video")
            try:
                yield container, container.streams.video[0]
            except av.error.FFmpegError as error:
                raise AgentError(f"damaged: {error}", where=str(self._path), mend="check source.video") from error
