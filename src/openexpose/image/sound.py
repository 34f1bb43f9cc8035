"""The sound of one video, for another one."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from openexpose.image.decoding import load_av
from openexpose.image.video import opened_video, source_start_s

_COPIED = ("aac", "mp3")  # what MP4 holds and browsers play; all else becomes AAC
_AAC_RATE, _AAC_FRAME = 48_000, 1024


class Sound:
    """The first sound track of a video, written into an open MP4 as its pictures go on.

    Time 0 is the first frame of the source. AAC and MP3 are copied, all else becomes AAC. Sound that is damaged ends
    where it cannot be read, and ``warning`` says so.

    Args:
        source: the video that has the sound.
        output: the open PyAV container; it gets one more stream.

    Raises:
        InputError: the source cannot be opened.
    """

    def __init__(self, source: Path, output: Any) -> None:
        self.warning: str | None = None
        self._name, self._output = source.name, output
        self._start_s = source_start_s(source)
        self._container = opened_video(source)
        tracks = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        self._packets: Iterator[tuple[Fraction, Any]] = iter(())
        self._next: tuple[Fraction, Any] | None = None
        if tracks:
            copied = tracks[0].codec_context.codec.canonical_name in _COPIED
            self._packets = self._copy(tracks[0]) if copied else self._encode(tracks[0])
            self._stream = self._added(tracks[0], copied)

    def write_until(self, time_s: float) -> None:
        """Write what is heard before ``time_s``, seconds after the first frame."""
        av = load_av()
        while True:
            if self._next is None:
                self._next = self._read()
            if self._next is None or self._next[0] >= time_s:
                return
            packet = self._next[1]
            packet.stream = self._stream
            self._next = None
            try:
                self._output.mux(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError):
                self._give_up()

    def close(self) -> None:
        """Close the source."""
        self._container.close()

    def _added(self, track: Any, copied: bool) -> Any:
        if copied:
            return self._output.add_stream_from_template(track)
        stream = self._output.add_stream("aac", rate=_AAC_RATE)
        stream.codec_context.layout = "mono" if track.codec_context.layout.nb_channels == 1 else "stereo"
        return stream

    def _read(self) -> tuple[Fraction, Any] | None:
        try:
            return next(self._packets, None)
        except (load_av().FFmpegError, ValueError, IndexError):
            self._give_up()
            return None

    def _give_up(self) -> None:
        self._packets = iter(())
        self.warning = f"the sound of {self._name} is damaged: the rest of it was left out"

    def _copy(self, track: Any) -> Iterator[tuple[Fraction, Any]]:
        """The track's own packets from the first frame on, and when each is heard."""
        start, last = round(self._start_s / track.time_base), -1
        for packet in self._container.demux(track):
            if packet.dts is None or packet.size == 0:
                continue
            packet.dts = packet.dts - start
            packet.pts = packet.dts if packet.pts is None else max(packet.dts, packet.pts - start)
            if packet.dts > last:  # neither what comes before the first frame, nor a count that begins anew
                last = packet.dts
                yield packet.dts * track.time_base, packet

    def _encode(self, track: Any) -> Iterator[tuple[Fraction, Any]]:
        """The track as AAC from the first frame on, and when each packet is heard."""
        av = load_av()
        context = self._stream.codec_context
        resampler = av.AudioResampler("fltp", context.layout.name, _AAC_RATE, _AAC_FRAME)
        start = round(self._start_s * _AAC_RATE)
        for frame in _frames(self._container, track):
            for piece in resampler.resample(frame):
                yield from self._coded(context.encode(piece), start)
        yield from self._coded(context.encode(None), start)

    def _coded(self, packets: list[Any], start: int) -> Iterator[tuple[Fraction, Any]]:
        for packet in packets:
            packet.pts, packet.dts = packet.pts - start, packet.dts - start
            if packet.dts >= 0:
                yield Fraction(packet.dts, _AAC_RATE), packet


def _frames(container: Any, track: Any) -> Iterator[Any]:
    """Decoded sound; at its end None, which makes the resampler give what it still holds."""
    av = load_av()
    for packet in container.demux(track):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:  # a spoilt piece is silence
            continue
    yield None
