//! Pictures, bounded before they are decoded.

use std::io::Cursor;

use ampoule_sdk::prelude::*;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

/// Bytes of a file.
pub(crate) const MAX_FILE_BYTES: u64 = 32 << 20;

/// Pixels of a picture on one side.
pub(crate) const MAX_SIDE: u32 = 32_768;

/// Bytes of a decoded picture: 44 megapixels of three bytes.
pub(crate) const MAX_DECODED_BYTES: u64 = 128 << 20;

/// What a picture is written in.
#[data]
#[derive(Copy, PartialEq)]
pub(crate) enum Format {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF.
    Gif,
    /// WebP.
    #[serde(rename = "webp")]
    WebP,
    /// BMP.
    Bmp,
}

impl Format {
    /// Its media type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Format::Png => "image/png",
            Format::Jpeg => "image/jpeg",
            Format::Gif => "image/gif",
            Format::WebP => "image/webp",
            Format::Bmp => "image/bmp",
        }
    }
}

/// What a file is, and what reads it. Nothing but its head has been read.
///
/// # Errors
/// `unsupported` for what is none of the formats, `invalid-data` for a head that is malformed.
pub(crate) fn open(bytes: &[u8]) -> Result<(Format, impl ImageDecoder + '_)> {
    let guessed = image::guess_format(bytes).ok();
    let format = match guessed {
        Some(ImageFormat::Png) => Format::Png,
        Some(ImageFormat::Jpeg) => Format::Jpeg,
        Some(ImageFormat::Gif) => Format::Gif,
        Some(ImageFormat::WebP) => Format::WebP,
        Some(ImageFormat::Bmp) => Format::Bmp,
        other => {
            let what = match other {
                Some(other) => format!("this is {}", other.to_mime_type()),
                None => "this is no picture that is known".to_owned(),
            };
            return Err(Error::unsupported(format!(
                "{what}; PNG, JPEG, GIF, WebP and BMP are read"
            )));
        }
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES * 2);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    if let Some(guessed) = guessed {
        reader.set_format(guessed);
    }
    reader.limits(limits);
    Ok((format, reader.into_decoder().map_err(failed)?))
}

/// Decodes a picture that is not too large.
///
/// # Errors
/// `too-large`, `invalid-data`.
pub(crate) fn decode(decoder: impl ImageDecoder) -> Result<DynamicImage> {
    let (width, height) = decoder.dimensions();
    let size = decoder.total_bytes();
    if width > MAX_SIDE || height > MAX_SIDE || size > MAX_DECODED_BYTES {
        return Err(Error::too_large(format!(
            "the picture is {width} by {height} pixels, {size} bytes when decoded; it may be \
             {MAX_SIDE} on a side and {MAX_DECODED_BYTES} bytes: make it smaller where it comes from"
        )));
    }
    if width == 0 || height == 0 {
        return Err(Error::invalid_data("the picture is malformed: it has no pixels"));
    }
    DynamicImage::from_decoder(decoder).map_err(failed)
}

/// What an error of the library stands for.
pub(crate) fn failed(error: ImageError) -> Error {
    match error {
        ImageError::Limits(error) => Error::too_large(format!(
            "the picture takes too much to decode: {error}; make it smaller where it comes from"
        )),
        ImageError::Unsupported(error) => Error::unsupported(error.to_string()),
        error => Error::invalid_data(format!("the picture is malformed: {error}")),
    }
}
