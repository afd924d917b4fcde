"""Places addresses in a u32 hash table: 256 buckets, chosen by the octet that spreads them best."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from slicebed_agent.host.network.encode import U32_OFFSETS
from slicebed_agent.host.network.tree import HashKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A u32 handle has 12 bits for the place in a bucket, and 0 is none (net/sched/cls_u32.c).
LARGEST_BUCKET = 4095


def choose_key(addresses: Sequence[bytes], in_use: HashKey | None, *, of_source: bool) -> HashKey | None:
    """Choose the octet for addresses of one family; None when some bucket overflows whichever is taken.

    Args:
        addresses: at least one.
        in_use: the octet of the table that is there; it stays while no bucket overflows.
        of_source: the octet is one of the source address.
    """
    length = len(addresses[0])
    octet = None if in_use is None else _octet(in_use, length, of_source=of_source)
    if octet is None or _overflows(addresses, octet):
        octet = _best_octet(addresses)
    if _overflows(addresses, octet):
        return None
    word, within = divmod(octet, 4)
    return HashKey(U32_OFFSETS[length == 4, of_source] + 4 * word, 8 * (3 - within))


def place(
    addresses: Sequence[bytes], key: HashKey, table: int, held: Mapping[bytes, int], *, of_source: bool
) -> dict[bytes, int]:
    """Give every address's handle: those in `held` keep theirs, the others take the lowest free place of the bucket."""
    octet = _octet(key, len(addresses[0]), of_source=of_source)
    if octet is None:
        raise AssertionError(key)
    wanted = {each: held[each] for each in addresses if each in held and held[each] >> 12 == table << 8 | each[octet]}
    kept, taken = set(wanted.values()), set(held.values())
    following = dict.fromkeys(range(256), 1)
    for each in sorted(addresses):
        if each in wanted:
            continue
        bucket = table << 20 | each[octet] << 12
        node = _lowest(bucket, following[each[octet]], taken)
        if node > LARGEST_BUCKET:
            # The bucket is full of what is going: its places are used again.
            node = _lowest(bucket, 1, kept)
        wanted[each] = bucket | node
        kept.add(bucket | node)
        taken.add(bucket | node)
        following[each[octet]] = node + 1
    return wanted


def _lowest(bucket: int, node: int, taken: set[int]) -> int:
    while bucket | node in taken:
        node += 1
    return node


def _overflows(addresses: Sequence[bytes], octet: int) -> bool:
    return max(Counter(each[octet] for each in addresses).values()) > LARGEST_BUCKET


def _best_octet(addresses: Sequence[bytes]) -> int:
    def crowding(octet: int) -> tuple[int, int, int]:
        sizes = Counter(each[octet] for each in addresses).values()
        return max(sizes), sum(size * size for size in sizes), -octet

    return min(range(len(addresses[0])), key=crowding)


def _octet(key: HashKey, length: int, *, of_source: bool) -> int | None:
    octet = key.offset - U32_OFFSETS[length == 4, of_source] + 3 - key.shift // 8
    return octet if 0 <= octet < length else None
