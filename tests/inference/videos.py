"""Videos whose frames last unequally long: OpenCV writes one rate, the times are put into the file afterwards."""

import struct

import cv2
import numpy as np

#: of Matroska: elements that hold others on the way to frames and duration
_SEGMENT, _INFO, _CLUSTER, _DURATION, _SIMPLE, _GROUP, _BLOCK = (
    0x18538067, 0x1549A966, 0x1F43B675, 0x4489, 0xA3, 0xA0, 0xA1,
)  # fmt: skip


def film(path, frames, rate=10):
    """A film of grey frames, 64 × 48, each of its own shade."""
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (64, 48))
    for i in range(frames):
        writer.write(np.full((48, 64, 3), 30 * i % 256, np.uint8))
    writer.release()
    return path


def uneven(path, times):
    """A film with a frame at each of these times in ms, `.mkv` or `.mp4`; the last one lasts as long as that before."""
    film(path, len(times))
    data = bytearray(path.read_bytes())
    lasting = [*np.diff(times), times[-1] - times[-2]]
    (_matroska if path.suffix == ".mkv" else _mp4)(data, times, [int(ms) for ms in lasting])
    path.write_bytes(data)
    return path


def _number(data, at, keep_marker):
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return value if keep_marker else value & ~(1 << (7 * length)), at + length


def _elements(data, start, end):
    while start < end:
        kind, start = _number(data, start, True)
        size, start = _number(data, start, False)
        stop = min(end, start + size)
        yield kind, start, stop
        start = stop


def _matroska(data, times, lasting):
    [(_, start, end)] = [e for e in _elements(data, 0, len(data)) if e[0] == _SEGMENT]
    blocks = []
    for kind, first, last in list(_elements(data, start, end)):
        for inner, a, b in _elements(data, first, last) if kind in (_INFO, _CLUSTER) else ():
            if inner == _DURATION:
                data[a:b] = struct.pack(">d" if b - a == 8 else ">f", times[-1] + lasting[-1])
            elif inner == _SIMPLE:
                blocks.append(a)
            elif inner == _GROUP:
                blocks += [c for deep, c, _ in _elements(data, a, b) if deep == _BLOCK]
    assert len(blocks) == len(times)
    for at, time in zip(blocks, times, strict=True):  # one cluster, at 0
        struct.pack_into(">h", data, at + 1, int(time))


def _mp4(data, times, lasting):
    """A sample table with an entry a frame; the index is at the end."""
    at = data.index(b"stts")
    entries, count, lasts = struct.unpack_from(">III", data, at + 8)
    assert (entries, count) == (1, len(times))
    unit = lasts / 100  # of a ms: a frame lasted 100
    new = struct.pack(">I", len(times)) + b"".join(struct.pack(">II", 1, round(unit * ms)) for ms in lasting)
    more = len(new) - 12
    data[at + 8 : at + 20] = new
    struct.pack_into(">I", data, data.index(b"elst") + 12, sum(lasting))  # in ms: how much of the track is shown
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        place = data.index(box) - 4
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + more)
