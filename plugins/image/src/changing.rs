//! Pictures made smaller, cut, turned and written in another format.

use ampoule_sdk::prelude::*;
use ampoule_sdk::{BlobRef, blobs};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};

use crate::reading::{Format, MAX_DECODED_BYTES, MAX_FILE_BYTES, MAX_SIDE, decode, open};
use crate::writing::encode;

/// A picture and what to do with it.
#[data]
pub(crate) struct Changing {
    /// The picture: PNG, JPEG, GIF (its first frame), WebP or BMP.
    image: Content,
    /// What to do, one after another; nothing is only converting.
    #[serde(default)]
    #[schemars(length(max = 20))]
    steps: Vec<Step>,
    /// What to write it in. Default: what it was.
    format: Option<Format>,
    /// Quality of a JPEG, from 1 to 100.
    #[serde(default = "default_quality")]
    #[schemars(range(min = 1, max = 100))]
    quality: u8,
    /// First turn the picture as its EXIF data say it is to be shown.
    #[serde(default = "yes")]
    orient: bool,
}

fn default_quality() -> u8 {
    85
}

fn yes() -> bool {
    true
}

/// What to do with a picture.
#[data]
pub(crate) enum Step {
    /// Make it smaller or larger.
    Resize(Resize),
    /// Make it fit into a square of so many pixels, never larger than it is.
    Thumbnail(#[schemars(range(min = 1, max = 4096))] u32),
    /// Keep only a part, which must lie inside the picture.
    Crop(Crop),
    /// Turn it clockwise.
    Rotate(Angle),
    /// Mirror it.
    Flip(Direction),
    /// Take the colours out, with `{}`.
    Grayscale(Nothing),
}

/// A new size. Where one side is missing, the picture keeps its proportions.
#[data]
pub(crate) struct Resize {
    /// Width in pixels.
    #[schemars(range(min = 1, max = 32_768))]
    width: Option<u32>,
    /// Height in pixels.
    #[schemars(range(min = 1, max = 32_768))]
    height: Option<u32>,
    /// What to do where both sides are given.
    #[serde(default)]
    fit: Fit,
    /// How pixels are mixed.
    #[serde(default)]
    filter: Filter,
}

/// How a picture is fitted into a width and a height.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum Fit {
    /// The largest that fits, in proportion.
    #[default]
    Contain,
    /// Filled, in proportion; what stands over is cut on both sides.
    Cover,
    /// Filled, out of proportion.
    Stretch,
}

/// How pixels are mixed.
#[data]
#[derive(Copy, Default, PartialEq)]
pub(crate) enum Filter {
    /// Sharp and smooth.
    #[default]
    Lanczos,
    /// Softer and faster.
    Bilinear,
    /// Not at all: for pixel art and masks.
    Nearest,
}

/// A part of a picture.
#[data]
pub(crate) struct Crop {
    /// Pixels from the left.
    #[serde(default)]
    x: u32,
    /// Pixels from the top.
    #[serde(default)]
    y: u32,
    /// Width in pixels.
    #[schemars(range(min = 1))]
    width: u32,
    /// Height in pixels.
    #[schemars(range(min = 1))]
    height: u32,
}

/// An angle, clockwise.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Angle {
    /// A quarter.
    #[serde(rename = "90")]
    Quarter,
    /// A half.
    #[serde(rename = "180")]
    Half,
    /// Three quarters.
    #[serde(rename = "270")]
    ThreeQuarters,
}

/// How a picture is mirrored.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Direction {
    /// Left becomes right.
    Horizontal,
    /// Top becomes bottom.
    Vertical,
}

/// No choices.
#[data]
pub(crate) struct Nothing {}

/// A picture that was written.
#[data]
pub(crate) struct Changed {
    /// The picture.
    blob: BlobRef,
    /// What it is written in.
    format: Format,
    /// Its width in pixels.
    width: u32,
    /// Its height in pixels.
    height: u32,
    /// Its size in bytes.
    bytes: u64,
}

/// Change a picture: resize, make a thumbnail, crop, turn, mirror, take the colours out, and write
/// it as PNG, JPEG, GIF, WebP (without loss) or BMP. The steps happen in their order. The result is
/// a blob; EXIF data are left out.
#[tool]
pub(crate) fn transform(changing: Changing) -> Result<Output<Changed>> {
    let Changing { image, steps, format, quality, orient } = changing;
    let bytes = image.at_most(MAX_FILE_BYTES)?.bytes()?;
    let (read, mut decoder) = open(&bytes)?;
    let profile = decoder.icc_profile().ok().flatten();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = decode(decoder)?;
    drop(bytes);
    if orient {
        picture.apply_orientation(orientation);
    }
    for (number, step) in steps.into_iter().enumerate() {
        picture = take(picture, step).map_err(|error| {
            let message = format!("step {}: {}", number + 1, error.message);
            Error { message, ..error }
        })?;
    }
    let format = format.unwrap_or(read);
    let (width, height) = (picture.width(), picture.height());
    // The profile is for the colours that were read.
    let gray = !picture.color().has_color();
    let file = encode(picture, format, quality, profile.filter(|_| !gray))?;
    let blob = blobs::store(format.media_type(), &file)?;
    let block = Block::blob("image", format.media_type(), blob.clone());
    let changed = Changed { blob, format, width, height, bytes: file.len() as u64 };
    Ok(Output::new(changed).with_block(block))
}

fn take(picture: DynamicImage, step: Step) -> Result<DynamicImage> {
    Ok(match step {
        Step::Resize(resize) => resized(picture, &resize)?,
        Step::Thumbnail(side) => {
            if picture.width() <= side && picture.height() <= side {
                return Ok(picture);
            }
            let (width, height) = contained(&picture, side, side);
            scaled(&picture, width, height, Filter::Lanczos)?
        }
        Step::Crop(Crop { x, y, width, height }) => {
            let inside = |start: u32, length: u32, whole: u32| {
                start.checked_add(length).is_some_and(|end| end <= whole)
            };
            if width == 0
                || height == 0
                || !inside(x, width, picture.width())
                || !inside(y, height, picture.height())
            {
                return Err(Error::bad_arguments(format!(
                    "the part is not inside the picture, which is {} by {} pixels there",
                    picture.width(),
                    picture.height()
                )));
            }
            picture.crop_imm(x, y, width, height)
        }
        Step::Rotate(Angle::Quarter) => picture.rotate90(),
        Step::Rotate(Angle::Half) => picture.rotate180(),
        Step::Rotate(Angle::ThreeQuarters) => picture.rotate270(),
        Step::Flip(Direction::Horizontal) => picture.fliph(),
        Step::Flip(Direction::Vertical) => picture.flipv(),
        Step::Grayscale(Nothing {}) => picture.grayscale(),
    })
}

fn resized(picture: DynamicImage, resize: &Resize) -> Result<DynamicImage> {
    let (width, height) = match (resize.width, resize.height) {
        (None, None) => {
            return Err(Error::bad_arguments("`resize` needs a `width`, a `height` or both"));
        }
        (Some(width), None) => contained(&picture, width, MAX_SIDE),
        (None, Some(height)) => contained(&picture, MAX_SIDE, height),
        (Some(width), Some(height)) => match resize.fit {
            Fit::Contain => contained(&picture, width, height),
            Fit::Stretch => (width, height),
            Fit::Cover => {
                // The part that is seen, then made as large as it shall be.
                let (whole, high) = (u64::from(picture.width()), u64::from(picture.height()));
                let (w, h) = (u64::from(width), u64::from(height));
                let (part, tall) = match whole * h > high * w {
                    true => ((high * w / h).max(1), high),
                    false => (whole, (whole * h / w).max(1)),
                };
                let (x, y) = ((whole - part) / 2, (high - tall) / 2);
                let seen = picture.crop_imm(x as u32, y as u32, part as u32, tall as u32);
                drop(picture);
                return scaled(&seen, width, height, resize.filter);
            }
        },
    };
    scaled(&picture, width, height, resize.filter)
}

/// The largest size in proportion that fits.
fn contained(picture: &DynamicImage, width: u32, height: u32) -> (u32, u32) {
    let (whole, high) = (u64::from(picture.width()), u64::from(picture.height()));
    let (w, h) = (u64::from(width), u64::from(height));
    // Rounded, and at least one pixel.
    match whole * h > high * w {
        true => (width, ((high * w + whole / 2) / whole).max(1) as u32),
        false => (((whole * h + high / 2) / high).max(1) as u32, height),
    }
}

fn scaled(picture: &DynamicImage, width: u32, height: u32, filter: Filter) -> Result<DynamicImage> {
    let pixel = u64::from(picture.color().bytes_per_pixel());
    let size = u64::from(width) * u64::from(height) * pixel;
    if width > MAX_SIDE || height > MAX_SIDE || size > MAX_DECODED_BYTES / 2 {
        return Err(Error::too_large(format!(
            "the picture would be {width} by {height} pixels; it may be {MAX_SIDE} on a side and \
             {} bytes when decoded",
            MAX_DECODED_BYTES / 2
        )));
    }
    let mut target = DynamicImage::new(width, height, picture.color());
    let algorithm = match filter {
        Filter::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Nearest => ResizeAlg::Nearest,
    };
    let options = ResizeOptions::new().resize_alg(algorithm);
    Resizer::new()
        .resize(picture, &mut target, &options)
        .map_err(|error| Error::unsupported(format!("the picture cannot be resized: {error}")))?;
    Ok(target)
}
