#!/usr/bin/env python3
"""Writes tests/pictures/: small picture files of many kinds, and beside each NAME the pixels that Pillow sees in it,
NAME.ppm: upright, transparent parts on white. Needs pillow 12 or later, pillow-heif, numpy and heif-enc 1.15; the tests
need only the files."""
import argparse
import io
import os
import struct
import subprocess
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageOps
import pillow_heif

from heif_boxes import box, clean_aperture, grid, put_together, take_apart, with_property, with_size

pillow_heif.register_heif_opener()
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", nargs="?", default="tests/pictures")
folder = parser.parse_args().folder
os.makedirs(folder, exist_ok=True)

height, width = 18, 26  # even, for chroma at half the resolution
y, x = np.mgrid[0:height, 0:width]
rgb = np.stack([x * 9, y * 14, (x * 5 + y * 7) % 256], -1).astype(np.uint8)
grey = ((x * 7 + y * 11) % 256).astype(np.uint8)
alpha = np.clip((x + y) * 8 - 40, 0, 255).astype(np.uint8)
cut = np.where((x // 4 + y // 3) % 2, 255, 0).astype(np.uint8)  # seen through or not
rgba = np.concatenate([rgb, alpha[..., None]], -1)
smooth = np.stack([127 + 100 * np.sin(x / 9 + c) * np.cos(y / 7 - c) for c in range(3)], -1).astype(np.uint8)
palette_image = Image.fromarray(rgb).quantize(16)


def on_white(pixels):
    """[H, W, 4] -> [H, W, 3]"""
    a = pixels[..., 3:].astype(np.int64)
    return ((pixels[..., :3] * a + 255 * (255 - a) + 127) // 255).astype(np.uint8)


def write(name, data, expected=None):
    """expected: [H, W, 3], where Pillow does not see what is there."""
    if isinstance(data, io.BytesIO):
        data = data.getvalue()
    with open(f"{folder}/{name}", "wb") as file:
        file.write(data)
    if expected is None:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        expected = on_white(np.asarray(picture.convert("RGBA")))
    expected = np.ascontiguousarray(expected, np.uint8)
    with open(f"{folder}/{name}.ppm", "wb") as file:
        file.write(b"P6 %d %d 255\n" % (expected.shape[1], expected.shape[0]) + expected.tobytes())


def saved(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def exif(orientation, order="<", long=False):
    mark = b"II" if order == "<" else b"MM"
    value = struct.pack(order + ("I" if long else "HH"), *([orientation] if long else [orientation, 0]))
    return mark + struct.pack(order + "HIHHHI", 42, 8, 1, 0x112, 4 if long else 3, 1) + value + bytes(4)


# --- PNG, written here, for Pillow writes few of its kinds

def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(samples, bits):
    """[H, W, C] -> rows of bytes, the filter's before each."""
    rows = b""
    for row in samples.reshape(samples.shape[0], -1):
        if bits == 16:
            data = row.astype(">u2").tobytes()
        elif bits == 8:
            data = row.astype(np.uint8).tobytes()
        else:
            data = np.packbits(((row[:, None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8).ravel()).tobytes()
        rows += b"\0" + data
    return rows


def png(samples, bits, color_type, before=b"", after=b"", interlaced=False):
    samples = np.atleast_3d(samples)
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        raw = b"".join(packed_rows(samples[top::down, left::right], bits) for top, left, down, right in passes
                       if samples[top::down, left::right].size)
    else:
        raw = packed_rows(samples, bits)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, color_type, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", zlib.compress(raw, 9))
            + after + png_chunk(b"IEND", b""))


def grey_to_rgb(values):
    return np.repeat(values[..., None], 3, -1)


colors = np.array(palette_image.getpalette()[:48], np.uint8)
indices = np.asarray(palette_image)
PLTE = png_chunk(b"PLTE", colors.tobytes())
deep = rgb.astype(np.int64) * 256 + (x * 31 + y)[..., None] % 256
deep_grey = grey.astype(np.int64) * 256 + (x * 31 + y) % 256

write("rgb.png", png(rgb, 8, 2))
write("rgb-interlaced.png", png(rgb, 8, 2, interlaced=True))
write("rgb-16.png", png(deep, 16, 2), rgb)
for bits in (1, 2, 4):
    values = grey.astype(np.int64) >> (8 - bits)
    write(f"grey-{bits}.png", png(values, bits, 0), grey_to_rgb((values * 255 // (2**bits - 1)).astype(np.uint8)))
write("grey.png", png(grey, 8, 0))
write("grey-16.png", png(deep_grey, 16, 0), grey_to_rgb(grey))
write("grey-alpha.png", png(np.stack([grey, alpha], -1), 8, 4))
write("grey-alpha-16.png", png(np.stack([deep_grey, alpha.astype(np.int64) * 256 + 99], -1), 16, 4),
      on_white(np.dstack([grey_to_rgb(grey), alpha])))
write("rgba.png", png(rgba, 8, 6))
write("rgba-interlaced.png", png(rgba, 8, 6, interlaced=True))
write("rgba-16.png", png(np.dstack([deep, alpha.astype(np.int64) * 256 + 99]), 16, 6), on_white(rgba))
write("palette.png", png(indices, 4, 3, PLTE))
write("palette-alpha.png", png(indices, 8, 3, PLTE + png_chunk(b"tRNS", bytes(range(0, 240, 30)))))
write("rgb-key.png", png(rgb, 8, 2, png_chunk(b"tRNS", struct.pack(">HHH", *map(int, rgb[3, 4])))))
write("grey-key.png", png(grey, 8, 0, png_chunk(b"tRNS", struct.pack(">H", int(grey[3, 4])))))
write("exif-6.png", png(rgb, 8, 2, png_chunk(b"eXIf", exif(6))), np.rot90(rgb, -1))
write("exif-8-behind.png", png(rgb, 8, 2, after=png_chunk(b"eXIf", exif(8, ">"))), np.rot90(rgb))

# --- GIF

write("palette.gif", saved(palette_image, "GIF", interlace=0))
write("interlaced.gif", saved(palette_image, "GIF", interlace=1))
transparent = palette_image.copy()
write("transparent.gif", saved(transparent, "GIF", transparency=5))
write("animated.gif", saved(palette_image, "GIF", save_all=True, append_images=[Image.new("P", (width, height), 3)]))
data = bytearray(saved(palette_image, "GIF", interlace=0))
at = data.find(b"\x2c")  # the frame begins
canvas = np.full((height + 7, width + 5, 3), 255, np.uint8)
canvas[4:4 + height, 3:3 + width] = np.asarray(palette_image.convert("RGB"))
data[6:10] = struct.pack("<HH", width + 5, height + 7)
data[at + 1:at + 5] = struct.pack("<HH", 3, 4)
write("small-frame.gif", bytes(data), canvas)

# --- WebP, TIFF, HEIC, AVIF

picture, see_through = Image.fromarray(rgb), Image.fromarray(rgba)
soft = Image.fromarray(smooth)
soft_alpha = Image.fromarray(np.dstack([smooth, alpha]))
write("lossless.webp", saved(picture, "WEBP", lossless=True))
write("lossless-alpha.webp", saved(see_through, "WEBP", lossless=True, exact=True))
write("lossy.webp", saved(soft, "WEBP", quality=80))
write("lossy-alpha.webp", saved(soft_alpha, "WEBP", quality=80))
write("exif-3.webp", saved(picture, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(3)), np.rot90(rgb, 2))
write("animated.webp", saved(see_through, "WEBP", lossless=True, save_all=True, append_images=[soft_alpha]))

for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
    write(f"rgb-{compression.replace('tiff_', '')}.tif", saved(picture, "TIFF", compression=compression))
write("jpeg.tif", saved(soft, "TIFF", compression="jpeg", quality=90))
write("rgba.tif", saved(see_through, "TIFF", compression="tiff_lzw"))
write("grey.tif", saved(Image.fromarray(grey), "TIFF"))
write("grey-16.tif", saved(Image.fromarray(deep_grey.astype(np.uint16)), "TIFF"), grey_to_rgb(grey))
write("palette.tiff", saved(palette_image, "TIFF"))
write("group4.tif", saved(Image.fromarray(cut).convert("1"), "TIFF", compression="group4"))
write("cmyk.tif", saved(Image.fromarray(np.dstack([255 - rgb, np.zeros_like(grey)]), "CMYK"), "TIFF"), rgb)
write("big.tif", saved(picture, "TIFF", big_tiff=True))
write("orientation-6.tif", saved(picture, "TIFF", tiffinfo={0x112: 6}), np.rot90(rgb, -1))

write("lossless.heic", saved(picture, "HEIF", quality=-1, chroma=444, matrix_coefficients=0))
write("lossy.heic", saved(soft, "HEIF", quality=90))
write("lossy-alpha.heic", saved(soft_alpha, "HEIF", quality=90))
write("lossy.avif", saved(soft, "AVIF", quality=90))
write("alpha.avif", saved(soft_alpha, "AVIF", quality=90))
write("fine.avif", saved(soft, "AVIF", quality=100, subsampling="4:4:4"))
for orientation in range(2, 9):
    write(f"exif-{orientation}.avif", saved(soft, "AVIF", quality=90, exif=b"Exif\0\0" + exif(orientation)))

turn_left = box(b"irot", b"\1")
file = saved(soft, "AVIF", quality=90)
part = take_apart(file)[0]
part = with_property(part, clean_aperture(14, 9, 5, 3, width, height))
shown = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))[3:12, 5:19]
write("clap.avif", put_together(b"avif", [part]), shown)
write("clap-turned.avif", put_together(b"avif", [with_property(part, turn_left)]), np.rot90(shown))
file = saved(soft.resize((64, 64)), "HEIF", quality=90)
tile = with_size(take_apart(file)[0], width, height)
shown = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))[:height, :width]
write("lossy-larger-tiles.heic", grid(b"heic", tile, 2, 2 * width, height), np.concatenate([shown, shown], 1))
with tempfile.TemporaryDirectory() as work:  # pillow-heif pads by other means
    soft.resize((92, 76)).save(f"{work}/soft.png")
    subprocess.run(["heif-enc", "-q", "90", f"{work}/soft.png", "-o", f"{work}/soft.heic"], check=True, stdout=subprocess.DEVNULL)
    with open(f"{work}/soft.heic", "rb") as file:
        write("lossy-padded.heic", file.read())

# --- BMP, TGA, PSD, PNM

write("rgb.bmp", saved(picture, "BMP"))
bmp = lambda h, bits, masks, rows: (b"BM" + struct.pack("<IHHI", 54 + len(masks) + len(rows), 0, 0, 54 + len(masks))
                                    + struct.pack("<IiiHHIIiiII", 40, width, h, 1, bits, 3 if masks else 0, len(rows), 0, 0, 0, 0)
                                    + masks + rows)
padding = bytes(-width * 3 % 4)
rows = b"".join(row[:, ::-1].tobytes() + padding for row in rgb)
write("top-down.bmp", bmp(-height, 24, b"", rows), rgb)
write("palette.bmp", saved(palette_image, "BMP"))
write("bits.bmp", saved(Image.fromarray(cut).convert("1"), "BMP"))
short = ((rgb[..., 0].astype(int) >> 3) << 11 | (rgb[..., 1].astype(int) >> 2) << 5 | rgb[..., 2].astype(int) >> 3).astype("<u2")
write("565.bmp", bmp(-height, 16, struct.pack("<III", 0xf800, 0x7e0, 0x1f), b"".join(r.tobytes() for r in short)))
write("rgb.tga", saved(picture, "TGA"))
write("rgb-rle.tga", saved(picture, "TGA", compression="tga_rle"))
write("rgba.tga", saved(see_through, "TGA"))
write("grey.tga", saved(Image.fromarray(grey), "TGA"))
write("palette.tga", saved(palette_image, "TGA"))
write("rgb.psd", b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, height, width, 8, 3) + bytes(12) + bytes(2)
      + rgb.transpose(2, 0, 1).tobytes())

text = lambda values: b"\n".join(b" ".join(b"%d" % v for v in row.ravel()) for row in values)
bits = (cut == 0).astype(int)
write("text-bits.pbm", b"P1\n# a comment\n%d %d\n" % (width, height) + text(bits).replace(b" ", b""))
write("text.pgm", b"P2 # a comment\n%d\n%d 15\n" % (width, height) + text(grey.astype(int) >> 4))
write("text.ppm", b"P3\n%d %d\n255\n" % (width, height) + text(rgb))
write("bits.pbm", b"P4\n%d %d\n" % (width, height) + np.packbits(bits.astype(np.uint8), 1).tobytes())
write("grey.pgm", b"P5\n#\n%d %d 200\n" % (width, height) + (grey.astype(int) * 200 // 255).astype(np.uint8).tobytes())
write("grey-16.pgm", b"P5 %d %d 65535\n" % (width, height) + deep_grey.astype(">u2").tobytes(), grey_to_rgb(grey))
write("rgb-16.pnm", b"P6 %d %d 65535 " % (width, height) + deep.astype(">u2").tobytes(), rgb)

# --- JPEG

app1 = lambda data: b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
xmp = app1(b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
jpeg = saved(soft, "JPEG", quality=95, subsampling=0)
write("plain.jfif", jpeg)
write("progressive.jpg", saved(soft, "JPEG", quality=95, progressive=True))
write("xmp-before-exif-6.jpg", jpeg[:2] + xmp + app1(b"Exif\0\0" + exif(6)) + jpeg[2:])
write("exif-8-long.jpg", jpeg[:2] + app1(b"Exif\0\0" + exif(8, ">", long=True)) + jpeg[2:])
inks = saved(soft.convert("CMYK"), "JPEG", quality=95)
at = inks.find(b"\xff\xee")
length = struct.unpack(">H", inks[at + 2:at + 4])[0]
write("inks.jpg", inks)
write("inks-without-adobe.jpg", inks[:at] + inks[at + 2 + length:])

# --- What Pillow sees otherwise


def tiff(pixels, extra_kind, color_kind=None):
    """One strip of samples of 8 or 16 bits, the last of them beyond the colors, of that kind (0: unspecified, 1: opacity
    that the colors are multiplied by, 2: opacity that stands apart). color_kind: 0 where gray of 0 is white."""
    height, width, samples = pixels.shape
    size = 8 * pixels.itemsize
    data = pixels.tobytes() + struct.pack(f"<{samples}H", *[size] * samples)
    bits = pixels.nbytes + 8
    if color_kind is None:
        color_kind = 2 if samples > 2 else 1
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, samples, bits if samples > 2 else size | size << 16),
               (259, 3, 1, 1), (262, 3, 1, color_kind), (273, 4, 1, 8), (277, 3, 1, samples), (278, 4, 1, height),
               (279, 4, 1, pixels.nbytes), (338, 3, 1, extra_kind)]
    data += bytes(len(data) % 2)
    return (b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries))
            + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4))


infrared = np.array([[[200, 100, 50, 10], [200, 100, 50, 255]]], np.uint8)
write("infrared.tif", tiff(infrared, 0), infrared[:, :, :3])
veiled = np.array([[[100, 128], [100, 0], [100, 255], [200, 128]]], np.uint8)
write("grey-opacity.tif", tiff(veiled, 2), grey_to_rgb(np.array([[177, 255, 100, 227]], np.uint8)))
deep_veiled = np.stack([deep_grey, np.clip((x + y) * 2048 - 10000, 0, 65535)], -1).astype("<u2")
gray, opacity = np.moveaxis((deep_veiled.astype(int) + 128) // 257, -1, 0)  # of 8 bits, as libtiff rounds
write("grey-opacity-16.tif", tiff(deep_veiled, 2), on_white(np.dstack([gray, gray, gray, opacity])))
write("grey-opacity-16-inverted.tif", tiff(deep_veiled, 2, 0),
      on_white(np.dstack([255 - gray, 255 - gray, 255 - gray, opacity])))
write("grey-opacity-16-multiplied.tif", tiff(deep_veiled, 1), grey_to_rgb(np.minimum(gray + 255 - opacity, 255)))
from_the_right = np.array([[[9, 8, 7], [1, 2, 3]]], np.uint8)
write("from-the-right.tga", b"\0\0\2" + bytes(9) + struct.pack("<HHBB", 2, 1, 24, 0x30)
      + from_the_right[:, ::-1, ::-1].tobytes(), from_the_right)
