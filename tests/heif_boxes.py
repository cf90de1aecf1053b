"""Takes HEIC and AVIF files (ISO/IEC 23008-12) apart and puts their pictures together as new ones."""
import struct


def box(kind, *parts):
    content = b"".join(parts)
    return struct.pack(">I", len(content) + 8) + kind + content


def full_box(kind, version, *parts):
    return box(kind, struct.pack(">I", version << 24), *parts)


def boxes(data):
    """-> (kind, content) of each."""
    at = 0
    while at + 8 <= len(data):
        length = struct.unpack(">I", data[at:at + 4])[0] or len(data) - at
        yield data[at + 4:at + 8], data[at + 8:at + length]
        at += length


def take_apart(data):
    """-> (kind, properties, content) of each picture; the properties are whole boxes."""
    meta = dict(boxes(dict(boxes(data))[b"meta"][4:]))
    kinds = {struct.unpack(">H", entry[4:6])[0]: entry[8:12] for _, entry in boxes(meta[b"iinf"][6:])}
    iprp = dict(boxes(meta[b"iprp"]))
    properties = [box(kind, content) for kind, content in boxes(iprp[b"ipco"])]
    wide = 2 if iprp[b"ipma"][3] & 1 else 1
    of_item, at = {}, 8
    while at < len(iprp[b"ipma"]):
        item, count = struct.unpack(">HB", iprp[b"ipma"][at:at + 3])
        numbers = [int.from_bytes(iprp[b"ipma"][i:i + wide], "big") for i in range(at + 3, at + 3 + count * wide, wide)]
        of_item[item] = [properties[(number & (0x7fff if wide == 2 else 0x7f)) - 1] for number in numbers]
        at += 3 + count * wide

    iloc, at = meta[b"iloc"], 8

    def number(size):
        nonlocal at
        at += size
        return int.from_bytes(iloc[at - size:at], "big")

    version, sizes, content = iloc[0], struct.unpack(">H", iloc[4:6])[0], {}
    for _ in range(struct.unpack(">H", iloc[6:8])[0]):
        item = number(2)
        source = meta[b"idat"] if version > 0 and number(2) == 1 else data
        number(2)
        base, content[item] = number(sizes >> 4 & 15), b""
        for _ in range(number(2)):
            number(sizes & 15 if version > 0 else 0)
            offset, length = base + number(sizes >> 12), number(sizes >> 8 & 15)
            content[item] += source[offset:offset + length]
    return [(kinds[item], of_item.get(item, []), content[item]) for item in sorted(content)]


def put_together(brand, pictures, references=()):
    """A file of those pictures, numbered from 1, the first of which is shown; references: (kind, from, [to])."""
    ipco, ipma = [], b""
    for item, (_, properties, _) in enumerate(pictures, 1):
        ipma += struct.pack(">HB", item, len(properties))
        for p in properties:
            if p not in ipco:
                ipco.append(p)
            ipma += bytes([ipco.index(p) + 1])

    def meta(begin):
        iloc, count = b"", struct.pack(">H", len(pictures))
        for item, (_, _, content) in enumerate(pictures, 1):
            iloc += struct.pack(">HHHII", item, 0, 1, begin, len(content))
            begin += len(content)
        infe = [full_box(b"infe", 2, struct.pack(">HH", item, 0), kind, b"\0") for item, (kind, _, _) in enumerate(pictures, 1)]
        iref = [box(kind, struct.pack(f">HH{len(to)}H", of, len(to), *to)) for kind, of, to in references]
        return full_box(b"meta", 0, full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13)), full_box(b"pitm", 0, b"\0\1"),
                        full_box(b"iloc", 0, b"\x44\0", count, iloc), full_box(b"iinf", 0, count, *infe),
                        *([full_box(b"iref", 0, *iref)] if iref else []),
                        box(b"iprp", box(b"ipco", *ipco), full_box(b"ipma", 0, struct.pack(">I", len(pictures)), ipma)))

    ftyp = box(b"ftyp", brand, bytes(4), b"mif1", brand)
    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", *[content for _, _, content in pictures])


def with_size(picture, width, height):
    """The same picture, of which its box says another size."""
    kind, properties, content = picture
    size = full_box(b"ispe", 0, struct.pack(">II", width, height))
    return kind, [size if p[4:8] == b"ispe" else p for p in properties], content


def with_property(picture, *more):
    kind, properties, content = picture
    return kind, properties + list(more), content


def clean_aperture(width, height, left, top, of_width, of_height):
    """Of a picture of that size the part that begins at (left, top)."""
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, 2 * left - of_width + width, 2,
                                    2 * top - of_height + height, 2))


def grid(brand, tile, columns, width, height):
    """A file that shows a row of equal tiles, cut off at that size."""
    size = full_box(b"ispe", 0, struct.pack(">II", width, height))
    row = (b"grid", [size], struct.pack(">BBBBHH", 0, 0, 0, columns - 1, width, height))
    return put_together(brand, [row] + [tile] * columns, [(b"dimg", 1, range(2, columns + 2))])
