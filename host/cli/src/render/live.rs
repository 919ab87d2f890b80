//! What a call says while it runs, on stderr.

use std::io::{self, IsTerminal, Write};

use ampoule::{Block, CallEvent};

use super::{BAD, FAINT, Screen, WARN, bytes, one_line, paint, safe};

/// Characters of a line of progress.
const MAX_PROGRESS: usize = 70;

/// Prints events as they come. On a terminal progress is one line that is written over.
pub(crate) struct Live {
    /// Whether progress can be written over.
    overwrites: bool,
    /// Whether the line on the screen is progress.
    open: bool,
    /// What stands before each line: which call it belongs to.
    prefix: String,
}

impl Live {
    pub(crate) fn new() -> Live {
        Live { overwrites: io::stderr().is_terminal(), open: false, prefix: String::new() }
    }

    /// Prints an event of the tool called `tool`; of the only one, where it has no name.
    pub(crate) fn event(
        &mut self,
        screen: &mut Screen,
        tool: &str,
        event: &CallEvent,
    ) -> io::Result<()> {
        self.prefix = if tool.is_empty() { String::new() } else { format!("{tool}: ") };
        match event {
            CallEvent::Progress { done, total, message } => {
                let text = progress(*done, *total, message.as_deref());
                let text = format!("{}{text}", self.prefix);
                if self.overwrites {
                    write!(screen.err(), "\r\x1b[K{FAINT}{text}{FAINT:#}")?;
                    self.open = true;
                    screen.err().flush()
                } else {
                    writeln!(screen.err(), "{text}")
                }
            }
            CallEvent::Log { level, message, fields } => {
                self.close(screen)?;
                let style = match *level {
                    "error" => BAD,
                    "warn" => WARN,
                    _ => FAINT,
                };
                let fields = fields.as_ref().map(|fields| format!(" {fields}")).unwrap_or_default();
                let text = format!("{message}{fields}");
                writeln!(
                    screen.err(),
                    "{}{} {}",
                    self.prefix,
                    paint(style, level),
                    safe(text.trim_end())
                )
            }
            CallEvent::Block { block } => {
                self.close(screen)?;
                writeln!(screen.err(), "{}{}", self.prefix, block_line(block))
            }
        }
    }

    /// Leaves the line of progress, so that something else can be printed.
    pub(crate) fn close(&mut self, screen: &mut Screen) -> io::Result<()> {
        if std::mem::take(&mut self.open) {
            write!(screen.err(), "\r\x1b[K")?;
        }
        Ok(())
    }
}

fn progress(done: f64, total: Option<f64>, message: Option<&str>) -> String {
    let so_far = match total {
        Some(total) if total > 0.0 => format!("{:.0} %", (done / total * 100.0).clamp(0.0, 100.0)),
        _ => format!("{done}"),
    };
    match message {
        Some(message) => format!("{so_far} {}", one_line(message, MAX_PROGRESS)),
        None => so_far,
    }
}

/// A block in a line: its text, or what it is.
fn block_line(block: &Block) -> String {
    match &block.text {
        Some(text) => safe(text.trim_end()).into_owned(),
        None => describe(block, None),
    }
}

/// What a block that is no text is: `image image/png, 12 KiB`.
pub(crate) fn describe(block: &Block, size: Option<u64>) -> String {
    let mut text = one_line(&block.kind, 40);
    if let Some(media_type) = &block.media_type {
        text = format!("{text} {}", one_line(media_type, 80));
    }
    if let Some(size) = size.or(block.data.as_ref().map(|data| data.len() as u64)) {
        text = format!("{text}, {}", bytes(size));
    }
    if let Some(uri) = &block.uri {
        text = format!("{text} at {}", one_line(uri, 400));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_share_where_the_whole_is_known() {
        assert_eq!(progress(1.0, Some(4.0), Some("reading\nx")), "25 % reading x");
        assert_eq!(progress(9.0, Some(4.0), None), "100 %");
        assert_eq!(progress(3.0, None, None), "3");
        assert_eq!(progress(f64::NAN, Some(0.0), None), "NaN");
    }

    #[test]
    fn a_block_is_described() {
        let block = Block {
            kind: "image".into(),
            media_type: Some("image/png".into()),
            data: Some(vec![0; 2048]),
            ..Block::default()
        };
        assert_eq!(describe(&block, None), "image image/png, 2 KiB");
        assert_eq!(describe(&Block { data: None, ..block }, Some(10)), "image image/png, 10 B");
    }
}
