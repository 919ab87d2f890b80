//! What a picture says of itself.

use std::fmt::Write as _;

use ampoule_sdk::prelude::*;
use exif::{In, Reader};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder};

use crate::reading::{Format, MAX_FILE_BYTES, open};

/// Bytes of EXIF data that are read.
const MAX_EXIF_BYTES: usize = 256 << 10;

/// Fields of EXIF data that are given.
const MAX_FIELDS: usize = 200;

/// Characters of a field; what is beyond is cut.
const MAX_CHARS: usize = 200;

/// A picture.
#[data]
pub(crate) struct Looking {
    /// The picture: PNG, JPEG, GIF, WebP or BMP.
    image: Content,
}

/// What a picture says of itself.
#[data]
pub(crate) struct Info {
    /// What it is written in.
    format: Format,
    /// Its width in pixels, as it is stored.
    width: u32,
    /// Its height in pixels, as it is stored.
    height: u32,
    /// Its colours: `gray`, `gray-alpha`, `rgb` or `rgb-alpha`.
    color: String,
    /// Bits of each channel.
    bits: u8,
    /// Its size as a file, in bytes.
    bytes: u64,
    /// How it is to be shown: `normal`, `rotate-90`, … `transform` does so.
    orientation: String,
    /// Whether it has a colour profile.
    profile: bool,
    /// What its EXIF data say, by name: camera, times, place.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    exif: Map<String, Value>,
}

/// Say what a picture is: format, width, height, colours, orientation and EXIF data (camera, time,
/// place).
#[tool]
pub(crate) fn info(looking: Looking) -> Result<Info> {
    let bytes = looking.image.at_most(MAX_FILE_BYTES)?.bytes()?;
    let (format, mut decoder) = open(&bytes)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let exif = decoder.exif_metadata().ok().flatten().unwrap_or_default();
    let orientation = match decoder.orientation().unwrap_or(Orientation::NoTransforms) {
        Orientation::NoTransforms => "normal",
        Orientation::Rotate90 => "rotate-90",
        Orientation::Rotate180 => "rotate-180",
        Orientation::Rotate270 => "rotate-270",
        Orientation::FlipHorizontal => "flip-horizontal",
        Orientation::FlipVertical => "flip-vertical",
        Orientation::Rotate90FlipH => "rotate-90-flip-horizontal",
        Orientation::Rotate270FlipH => "rotate-270-flip-horizontal",
    };
    Ok(Info {
        format,
        width,
        height,
        color: match color {
            ColorType::L8 | ColorType::L16 => "gray",
            ColorType::La8 | ColorType::La16 => "gray-alpha",
            _ if color.has_alpha() => "rgb-alpha",
            _ => "rgb",
        }
        .to_owned(),
        bits: (color.bits_per_pixel() / u16::from(color.channel_count()).max(1)) as u8,
        bytes: bytes.len() as u64,
        orientation: orientation.to_owned(),
        profile: decoder.icc_profile().is_ok_and(|profile| profile.is_some()),
        exif: fields(exif),
    })
}

/// The fields of EXIF data that can be read. Those of the picture, not of its thumbnail.
fn fields(exif: Vec<u8>) -> Map<String, Value> {
    let mut fields = Map::new();
    if exif.len() > MAX_EXIF_BYTES {
        return fields;
    }
    let Ok(exif) = Reader::new()
        .continue_on_error(true)
        .read_raw(exif)
        .or_else(|error| error.distill_partial_result(|_| {}))
    else {
        return fields;
    };
    for field in exif.fields().filter(|field| field.ifd_num == In::PRIMARY).take(MAX_FIELDS) {
        let mut text = Cut(String::new());
        // It ends where it is cut.
        let _ = write!(text, "{}", field.display_value().with_unit(&exif));
        fields.insert(field.tag.to_string(), text.0.into());
    }
    fields
}

/// A text that ends after [`MAX_CHARS`] characters.
struct Cut(String);

impl std::fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = MAX_CHARS.saturating_sub(self.0.chars().count());
        match text.char_indices().nth(room) {
            None => {
                self.0.push_str(text);
                Ok(())
            }
            Some((end, _)) => {
                self.0.push_str(&text[..end]);
                Err(std::fmt::Error)
            }
        }
    }
}
