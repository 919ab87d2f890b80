//! Pictures as files.

use std::io::Cursor;

use ampoule_sdk::prelude::*;
use image::codecs::bmp::BmpEncoder;
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ImageEncoder};

use crate::reading::{Format, failed};

/// Writes a picture. Where the format has no transparency, the picture stands on white.
pub(crate) fn encode(
    picture: DynamicImage,
    format: Format,
    quality: u8,
    profile: Option<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    match format {
        Format::Png => write(&picture, PngEncoder::new(&mut file), profile)?,
        Format::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(&mut file, quality);
            write(&opaque(picture), encoder, profile)?;
        }
        Format::WebP => {
            write(&eight_bits(picture), WebPEncoder::new_lossless(&mut file), profile)?;
        }
        Format::Gif => {
            let rgba = picture.into_rgba8();
            let mut encoder = GifEncoder::new_with_speed(&mut file, 10);
            encoder
                .encode(&rgba, rgba.width(), rgba.height(), image::ExtendedColorType::Rgba8)
                .map_err(failed)?;
        }
        Format::Bmp => write(&eight_bits(picture), BmpEncoder::new(&mut file), None)?,
    }
    Ok(file.into_inner())
}

fn write(
    picture: &DynamicImage,
    mut encoder: impl ImageEncoder,
    profile: Option<Vec<u8>>,
) -> Result<()> {
    if let Some(profile) = profile {
        // Without it the picture is still right but for shades.
        let _ = encoder.set_icc_profile(profile);
    }
    let color = picture.color().into();
    encoder
        .write_image(picture.as_bytes(), picture.width(), picture.height(), color)
        .map_err(failed)
}

/// With eight bits a channel, which is what most formats take.
fn eight_bits(picture: DynamicImage) -> DynamicImage {
    match picture {
        DynamicImage::ImageLuma8(_)
        | DynamicImage::ImageLumaA8(_)
        | DynamicImage::ImageRgb8(_)
        | DynamicImage::ImageRgba8(_) => picture,
        picture if picture.color().has_alpha() => picture.into_rgba8().into(),
        picture => picture.into_rgb8().into(),
    }
}

/// Without transparency, on white.
fn opaque(picture: DynamicImage) -> DynamicImage {
    if !picture.color().has_alpha() {
        return match picture {
            DynamicImage::ImageLuma8(_) | DynamicImage::ImageRgb8(_) => picture,
            picture => picture.into_rgb8().into(),
        };
    }
    let mut rgba = picture.into_rgba8();
    for pixel in rgba.pixels_mut() {
        let [red, green, blue, alpha] = pixel.0;
        let on_white = |channel: u8| {
            let (channel, alpha) = (u32::from(channel), u32::from(alpha));
            ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        pixel.0 = [on_white(red), on_white(green), on_white(blue), 255];
    }
    DynamicImage::from(rgba).into_rgb8().into()
}
