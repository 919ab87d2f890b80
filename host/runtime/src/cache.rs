//! Compiled code on disk.
//!
//! An entry is named by the digest of the plugin and the fingerprint of the engine, and begins
//! with a MAC over both and the code, under a key that is kept outside the cache. Compiled code
//! is trusted like the host itself, so an entry whose MAC is not right is never loaded: it is
//! compiled again. The index of plugins' manifests is authenticated the same way, and named by the
//! version of the host too.
//!
//! Others may be able to write into the folder. What they put there is opened as a plain file or
//! not at all, and read up to a bound.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ring::hmac;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::binary::Binary;
use crate::error::HostError;
use crate::files;
use crate::manifest::Manifest;

const MAC_BYTES: usize = 32;

/// The largest compiled code of a plugin: 1 GiB, eight times its largest file.
pub(crate) const MAX_CODE_BYTES: u64 = 1 << 30;

/// The largest table: 64 MiB.
const MAX_TABLE_BYTES: u64 = 64 << 20;

/// The most that is read of the key's file, which holds 32 bytes.
const MAX_KEY_BYTES: u64 = 4096;

/// A folder of compiled code and the key that authenticates it.
pub(crate) struct Cache {
    folder: PathBuf,
    fingerprint: String,
    key: hmac::Key,
}

impl Cache {
    /// Opens the cache in `folder`, with the key in `key_file`; both are made where they are not
    /// there, readable by their owner only.
    ///
    /// # Errors
    /// A folder or the key cannot be read or written, or the key is in the cache's folder.
    pub(crate) fn open(
        folder: &Path,
        key_file: &Path,
        fingerprint: &str,
    ) -> Result<Cache, HostError> {
        if key_file.starts_with(folder) {
            return Err(HostError::config(key_file, "the cache's key may not lie in the cache"));
        }
        make_private_folder(folder)?;
        let key = read_or_make_key(key_file)?;
        Ok(Cache {
            folder: folder.to_owned(),
            fingerprint: fingerprint.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })
    }

    /// The compiled code of a plugin, if an authentic entry is there.
    pub(crate) fn load(&self, digest: &str) -> Option<Vec<u8>> {
        let name = self.code_name(digest);
        self.read(&name, MAX_CODE_BYTES)
    }

    /// Keeps the compiled code of a plugin.
    pub(crate) fn store(&self, digest: &str, code: &[u8]) {
        let name = self.code_name(digest);
        self.write(&name, code, MAX_CODE_BYTES);
    }

    /// A table kept under `name`, empty where no authentic one is there.
    pub(crate) fn table<T: Default + DeserializeOwned>(&self, name: &str) -> T {
        let read = self.read(name, MAX_TABLE_BYTES);
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Keeps a table under `name`.
    pub(crate) fn store_table(&self, name: &str, table: &impl Serialize) {
        if let Ok(bytes) = serde_json::to_vec(table) {
            self.write(name, &bytes, MAX_TABLE_BYTES);
        }
    }

    fn code_name(&self, digest: &str) -> String {
        format!("{}-{}.cwasm", digest.trim_start_matches("sha256:"), self.fingerprint)
    }

    fn tag(&self, name: &str, content: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(name.as_bytes());
        context.update(&[0]);
        context.update(content);
        context.sign()
    }

    fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        let file = files::open_regular(&path, false);
        let read = file.and_then(|file| files::read_bounded(file, most + MAC_BYTES as u64));
        let mut bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    let path = path.display();
                    tracing::warn!(%path, %error, "a cache entry cannot be read; it is made again");
                }
                return None;
            }
        };
        if bytes.len() < MAC_BYTES {
            return None;
        }
        // The bytes that were checked are the bytes that are used: they are in memory.
        let content = bytes.split_off(MAC_BYTES);
        if constant_time_eq(&bytes, self.tag(name, &content).as_ref()) {
            return Some(content);
        }
        tracing::warn!(path = %path.display(), "a cache entry is not authentic; it is made again");
        None
    }

    /// Writes an entry whole or not at all. A cache that cannot be written only costs time.
    fn write(&self, name: &str, content: &[u8], most: u64) {
        if content.len() as u64 > most {
            tracing::warn!(name, "an entry is too large for the cache");
            return;
        }
        let write = || {
            let beside = self.folder.join(format!(".{}", crate::digest::secret_id()));
            let mut file = private_file(&beside)?;
            file.write_all(self.tag(name, content).as_ref())?;
            file.write_all(content)?;
            drop(file);
            fs::rename(&beside, self.folder.join(name))
        };
        if let Err(error) = write() {
            tracing::warn!(%error, name, "the cache cannot be written");
        }
    }
}

fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn make_private_folder(folder: &Path) -> Result<(), HostError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(HostError::io(folder))
}

fn private_file(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn read_or_make_key(path: &Path) -> Result<[u8; 32], HostError> {
    if let Some(folder) = path.parent() {
        make_private_folder(folder)?;
    }
    if !path.exists() {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the operating system provides randomness");
        let beside = path.with_extension(crate::digest::secret_id());
        let write = || {
            private_file(&beside)?.write_all(&key)?;
            // Never over a key that another process has made meanwhile.
            let linked = fs::hard_link(&beside, path);
            fs::remove_file(&beside)?;
            match linked {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        };
        write().map_err(HostError::io(path))?;
    }
    // It lies among the user's own files, where a link is the user's own too.
    let key = files::open_regular(path, true)
        .and_then(|file| files::read_bounded(file, MAX_KEY_BYTES))
        .map_err(HostError::io(path))?;
    key.try_into()
        .map_err(|_| HostError::config(path, "the cache's key is not 32 bytes; remove it"))
}

/// What the host has read of the plugins it has seen, so that a start reads no plugin it knows.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Index {
    files: BTreeMap<PathBuf, IndexEntry>,
    /// It is not what was read from the cache.
    #[serde(skip)]
    is_changed: bool,
}

/// A plugin's file, as it was when it was last read.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct IndexEntry {
    size: u64,
    modified_ns: u128,
    changed_ns: i128,
    /// Digest of the file.
    pub digest: String,
    /// Its manifest, where it has one.
    pub manifest: Option<Manifest>,
    /// What it imports.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

/// The name of the index in the cache: the version of the host, and a number that is raised with
/// every new check of plugins' files. What a host knew that checked less is not believed.
pub(crate) const INDEX: &str = concat!("index-", env!("CARGO_PKG_VERSION"), "-3");

impl Index {
    /// What is known of the file at `path`, if it has not changed since.
    pub(crate) fn get(&self, path: &Path, metadata: &fs::Metadata) -> Option<&IndexEntry> {
        let entry = self.files.get(path)?;
        let same = entry.size == metadata.len()
            && entry.modified_ns == modified_ns(metadata)
            && entry.changed_ns == changed_ns(metadata);
        same.then_some(entry)
    }

    /// Remembers what was read of a file.
    pub(crate) fn insert(
        &mut self,
        path: &Path,
        metadata: &fs::Metadata,
        digest: String,
        manifest: Option<Manifest>,
        binary: &Binary,
    ) -> IndexEntry {
        let entry = IndexEntry {
            size: metadata.len(),
            modified_ns: modified_ns(metadata),
            changed_ns: changed_ns(metadata),
            digest,
            manifest,
            imports: binary.imports.iter().cloned().collect(),
            exports: binary.exports.iter().cloned().collect(),
        };
        self.files.insert(path.to_owned(), entry.clone());
        self.is_changed = true;
        entry
    }

    /// Forgets files that are gone, and says whether there is anything new to be kept.
    pub(crate) fn settle(&mut self) -> bool {
        let before = self.files.len();
        self.files.retain(|path, _| path.exists());
        self.is_changed || self.files.len() < before
    }
}

fn modified_ns(metadata: &fs::Metadata) -> u128 {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    modified.map_or(0, |time| time.as_nanos())
}

/// The time of the last change of the file's entry, which a program cannot set back.
fn changed_ns(metadata: &fs::Metadata) -> i128 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = open(&folder, "engine-a");
        (folder, cache)
    }

    fn open(folder: &tempfile::TempDir, fingerprint: &str) -> Cache {
        Cache::open(&folder.path().join("cache"), &folder.path().join("key"), fingerprint)
            .expect("opened")
    }

    fn entry(folder: &tempfile::TempDir) -> PathBuf {
        let mut files = fs::read_dir(folder.path().join("cache")).expect("read");
        files.next().expect("one").expect("read").path()
    }

    #[test]
    fn what_was_stored_is_loaded_by_any_host_with_the_key() {
        let (folder, cache) = cache();
        cache.store("sha256:aa", b"code");
        assert_eq!(open(&folder, "engine-a").load("sha256:aa").as_deref(), Some(&b"code"[..]));
        assert_eq!(open(&folder, "engine-b").load("sha256:aa"), None);
        assert_eq!(cache.load("sha256:bb"), None);
    }

    #[test]
    fn a_tampered_entry_is_not_loaded() {
        let (folder, cache) = cache();
        cache.store("sha256:aa", b"code");
        let path = entry(&folder);
        let good = fs::read(&path).expect("read");
        for at in [0, MAC_BYTES, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("written");
            assert_eq!(cache.load("sha256:aa"), None);
        }
        for bad in [&good[..good.len() - 1], &good[..MAC_BYTES], &[]] {
            fs::write(&path, bad).expect("written");
            assert_eq!(cache.load("sha256:aa"), None);
        }
        // An authentic entry under another name is another plugin's code.
        fs::write(path.with_file_name(cache.code_name("sha256:bb")), &good).expect("written");
        assert_eq!(cache.load("sha256:bb"), None);
    }

    #[test]
    fn the_index_of_another_host_is_not_believed() {
        let (folder, cache) = cache();
        assert!(INDEX.contains(env!("CARGO_PKG_VERSION")));
        cache.store_table("index", &["known"]);
        assert_eq!(cache.table::<Vec<String>>("index"), ["known"]);
        assert!(cache.table::<Vec<String>>(INDEX).is_empty());
        fs::copy(entry(&folder), folder.path().join("cache").join(INDEX)).expect("copied");
        assert!(cache.table::<Vec<String>>(INDEX).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn what_another_user_puts_in_place_of_an_entry_neither_waits_nor_fills_memory() {
        let (folder, cache) = cache();
        let path = folder.path().join("cache").join(INDEX);
        let refused = |what: &str| {
            assert!(cache.table::<Vec<String>>(INDEX).is_empty(), "{what}");
            fs::remove_file(&path).expect("removed");
        };
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("run");
        assert!(made.success());
        refused("a pipe");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("linked");
        refused("a link to a device");
        let large = fs::File::create(&path).expect("made");
        large.set_len(MAX_TABLE_BYTES + MAC_BYTES as u64 + 1).expect("grown");
        refused("a large file");
        // A link to an entry of our own is a link all the same.
        cache.store_table("known", &["known"]);
        std::os::unix::fs::symlink(folder.path().join("cache/known"), &path).expect("linked");
        refused("a link");
        // Writing replaces what is in its place.
        std::os::unix::fs::symlink("/dev/full", &path).expect("linked");
        cache.store_table(INDEX, &["known"]);
        assert_eq!(cache.table::<Vec<String>>(INDEX), ["known"]);
    }

    #[test]
    fn the_key_is_private_and_outside() {
        let (folder, _cache) = cache();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path().join("key")).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let inside = folder.path().join("cache");
        assert!(Cache::open(&inside, &inside.join("key"), "x").is_err());
        fs::write(folder.path().join("short"), b"short").expect("written");
        assert!(Cache::open(&inside, &folder.path().join("short"), "x").is_err());
    }
}
