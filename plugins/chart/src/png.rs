//! SVG to PNG.

use std::sync::Arc;

use ampoule_sdk::prelude::*;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, Tree, fontdb};

use crate::drawing::FONT;

/// The SVG as PNG, pixel for pixel.
pub(crate) fn render(svg: &str) -> Result<Vec<u8>> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(FONT.to_vec());
    // Named one by one: the defaults would read pictures from files.
    let options = usvg::Options {
        resources_dir: None,
        dpi: 96.0,
        font_family: "Roboto".into(),
        font_size: 12.0,
        languages: vec!["en".into()],
        shape_rendering: usvg::ShapeRendering::default(),
        text_rendering: usvg::TextRendering::default(),
        image_rendering: usvg::ImageRendering::default(),
        default_size: usvg::Size::from_wh(100.0, 100.0)
            .ok_or_else(|| Error::internal("no size of a picture"))?,
        image_href_resolver: usvg::ImageHrefResolver {
            resolve_data: Box::new(|_, _, _| None),
            resolve_string: Box::new(|_, _| None),
        },
        font_resolver: usvg::FontResolver::default(),
        fontdb: Arc::new(fonts),
        style_sheet: None,
    };
    let broken = |error: &dyn std::fmt::Display| Error::internal(format!("no PNG: {error}"));
    let tree = Tree::from_str(svg, &options).map_err(|error| broken(&error))?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width(), size.height())
        .ok_or_else(|| broken(&"the picture has no size"))?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| broken(&error))
}
