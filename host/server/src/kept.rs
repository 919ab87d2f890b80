//! Large files of results, kept for a while: the client gets a link in their place, and reads what it
//! wants as a resource, where it would otherwise have all of it in front of its model.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ampoule_contract::Block;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::ResourceContents;

/// What the URI of a kept file begins with.
const PREFIX: &str = "ampoule:results/";

/// Files up to this are part of the result: 64 KiB.
const WORTH_A_LINK: usize = 64 << 10;

/// The largest file that is kept: 4 MiB. A reading holds all of it, encoded, until the client has it,
/// and nothing but connections bounds how many there are. A larger one is part of its result.
const MAX_FILE_BYTES: usize = 4 << 20;

/// The most bytes that are kept for one principal. The oldest files go first.
const MAX_BYTES_OF_ONE: usize = 16 << 20;

/// The most bytes that are kept in all.
const MAX_BYTES: usize = 64 << 20;

/// How long a file is kept.
const TIME: Duration = Duration::from_secs(600);

/// The files that are kept, the oldest first.
#[derive(Default)]
pub(crate) struct Kept(Mutex<VecDeque<File>>);

struct File {
    uri: String,
    principal: Option<String>,
    since: Instant,
    media_type: Option<String>,
    content: Content,
}

enum Content {
    Text(String),
    Bytes(Vec<u8>),
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Content::Text(text) => text.len(),
            Content::Bytes(bytes) => bytes.len(),
        }
    }
}

impl Kept {
    /// Keeps the content of a block that is a large file, for the principal whose call it is from,
    /// and leaves a link to it in the block. Its size, where it was kept.
    pub(crate) fn keep(&self, block: &mut Block, principal: Option<&str>) -> Option<usize> {
        let is_shown = matches!(block.kind.as_str(), "image" | "audio");
        let is_file = block.kind == "file";
        let content = match block {
            Block { uri: Some(_), .. } => return None,
            Block { text: Some(text), .. } if is_file => Content::Text(std::mem::take(text)),
            Block { text: None, data: Some(data), .. } if !is_shown => {
                Content::Bytes(std::mem::take(data))
            }
            _ => return None,
        };
        let bytes = content.len();
        let uri = (WORTH_A_LINK < bytes && bytes <= MAX_FILE_BYTES).then(address).flatten();
        let Some(uri) = uri else {
            match content {
                Content::Text(text) => block.text = Some(text),
                Content::Bytes(data) => block.data = Some(data),
            }
            return None;
        };
        (block.text, block.data) = (None, None);
        block.uri = Some(uri.clone());
        let principal = principal.map(str::to_owned);
        let media_type = block.media_type.clone();
        self.add(File { uri, principal, since: Instant::now(), media_type, content });
        Some(bytes)
    }

    fn add(&self, file: File) {
        let mut files = self.files();
        files.retain(|other| other.since.elapsed() < TIME);
        let more_than = |files: &VecDeque<File>, most: usize, whose: Option<&Option<String>>| {
            let counted = files.iter().filter(|f| whose.is_none_or(|whose| f.principal == *whose));
            counted.map(|file| file.content.len()).sum::<usize>() > most - file.content.len()
        };
        while more_than(&files, MAX_BYTES_OF_ONE, Some(&file.principal)) {
            let oldest = files.iter().position(|other| other.principal == file.principal);
            let Some(oldest) = oldest else { break };
            files.remove(oldest);
        }
        while more_than(&files, MAX_BYTES, None) && files.pop_front().is_some() {}
        files.push_back(file);
    }

    /// The content of a file that is kept for this principal.
    pub(crate) fn read(&self, uri: &str, principal: Option<&str>) -> Option<ResourceContents> {
        if !uri.starts_with(PREFIX) {
            return None;
        }
        let files = self.files();
        let file = files.iter().find(|file| {
            file.uri == uri && file.principal.as_deref() == principal && file.since.elapsed() < TIME
        })?;
        let (uri, mime_type) = (file.uri.clone(), file.media_type.clone());
        Some(match &file.content {
            Content::Text(text) => {
                let text = text.clone();
                ResourceContents::TextResourceContents { uri, mime_type, text, meta: None }
            }
            Content::Bytes(bytes) => {
                let blob = STANDARD.encode(bytes);
                ResourceContents::BlobResourceContents { uri, mime_type, blob, meta: None }
            }
        })
    }

    fn files(&self) -> std::sync::MutexGuard<'_, VecDeque<File>> {
        // What is done under the lock leaves the list whole, wherever it breaks off.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address that nobody can guess; nothing, where there is no randomness.
fn address() -> Option<String> {
    let random = crate::rounds::random::<16>().ok()?;
    Some(random.iter().fold(PREFIX.to_owned(), |text, byte| text + &format!("{byte:02x}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn file(bytes: usize) -> Block {
        Block { kind: "file".into(), data: Some(vec![7; bytes]), ..Block::default() }
    }

    #[test]
    fn large_files_are_kept_for_their_principal_and_others_are_not() {
        let kept = Kept::default();
        let mut block = file(WORTH_A_LINK + 1);
        assert_eq!(kept.keep(&mut block, Some("ann")), Some(WORTH_A_LINK + 1));
        let uri = block.uri.unwrap();
        assert!(block.data.is_none() && kept.read(&uri, Some("ann")).is_some());
        assert!(kept.read(&uri, Some("bob")).is_none() && kept.read(&uri, None).is_none());
        for mut whole in [file(WORTH_A_LINK), file(MAX_FILE_BYTES + 1)] {
            let before = whole.clone();
            assert_eq!((kept.keep(&mut whole, None), whole), (None, before));
        }
        let data = Some(vec![0; WORTH_A_LINK + 1]);
        let mut image = Block { kind: "image".into(), data, ..Block::default() };
        assert_eq!(kept.keep(&mut image, None), None);
        assert!(image.data.is_some());
    }

    #[test]
    fn what_is_kept_is_bounded_for_each_and_for_all() {
        let kept = Kept::default();
        let keep = |who: &str| {
            let mut block = file(MAX_FILE_BYTES);
            kept.keep(&mut block, Some(who)).unwrap();
            block.uri.unwrap()
        };
        let own = [(); 5].map(|()| keep("ann"));
        let there = own.map(|uri| kept.read(&uri, Some("ann")).is_some());
        assert_eq!(there, [false, true, true, true, true]);
        for who in ["b", "c", "d", "e"].repeat(4) {
            keep(who);
        }
        let bytes: usize = kept.files().iter().map(|file| file.content.len()).sum();
        assert!(bytes <= MAX_BYTES, "{bytes}");
        assert!(kept.files().iter().all(|file| file.principal.as_deref() != Some("ann")));
    }
}
