//! The run's workspace: a directory that a call can read, and the writes it has staged.
//!
//! Every call writes into an [`Overlay`] of its own, which lies over its caller's, and the
//! outermost lies over the directory. When a call succeeds its changes go one level down; only
//! the outermost call's success changes the directory. A failed call's overlay is dropped.
//!
//! No path leads out: names are checked as text, and the directory is opened through cap-std,
//! which follows no symbolic link beyond it.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ampoule_contract::ToolError;
use cap_std::fs::{Dir, OpenOptions};

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;

/// The longest name of a file, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The most entries of one directory that are looked at.
const MAX_ENTRIES: usize = 100_000;

/// The most entries [`Overlay::list`] gives at once.
pub(crate) const PAGE_ENTRIES: usize = 1000;

/// The most bytes one read gives.
pub(crate) const READ_BYTES: u64 = 1 << 20;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub directory: bool,
    pub size: u64,
    pub modified_ms: Option<u64>,
}

/// The writes of one call over what was there before.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Below,
    changes: Mutex<BTreeMap<String, Change>>,
}

#[derive(Debug)]
enum Below {
    Directory(Dir),
    Overlay(Arc<Overlay>),
}

#[derive(Clone, Debug)]
enum Change {
    Written { data: Arc<Vec<u8>>, modified_ms: u64 },
    Removed,
}

type Result<T, E = ToolError> = std::result::Result<T, E>;

impl Overlay {
    /// Opens a workspace.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(crate) fn open(directory: &Path) -> io::Result<Arc<Overlay>> {
        let dir = Dir::open_ambient_dir(directory, cap_std::ambient_authority())?;
        Ok(Arc::new(Overlay { below: Below::Directory(dir), changes: Mutex::default() }))
    }

    /// An overlay over this one, for a call made by this call.
    pub(crate) fn above(self: &Arc<Overlay>) -> Arc<Overlay> {
        Arc::new(Overlay { below: Below::Overlay(self.clone()), changes: Mutex::default() })
    }

    /// What is at `path`.
    pub(crate) fn stat(&self, path: &str) -> Result<Entry> {
        check_path(path)?;
        self.lookup(path)?.ok_or_else(|| not_found(path))
    }

    /// At most `length` bytes from `offset`.
    pub(crate) fn read(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        check_path(path)?;
        let length = length.min(READ_BYTES);
        match self.staged(path) {
            Some(Change::Written { data, .. }) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
                let end = start.saturating_add(length as usize).min(data.len());
                Ok(data[start..end].to_vec())
            }
            Some(Change::Removed) => Err(not_found(path)),
            None => match &self.below {
                Below::Overlay(overlay) => overlay.read(path, offset, length),
                Below::Directory(dir) => read_file(dir, path, offset, length),
            },
        }
    }

    /// The whole of a file of at most `most` bytes.
    pub(crate) fn read_all(&self, path: &str, most: u64) -> Result<Vec<u8>> {
        let size = self.stat(path)?.size;
        if size > most {
            let message = format!("{path} has {size} bytes, more than the {most} that are left");
            return Err(ToolError::new("too-large", message));
        }
        let mut data = Vec::with_capacity(size as usize);
        while (data.len() as u64) < size {
            let part = self.read(path, data.len() as u64, size - data.len() as u64)?;
            if part.is_empty() {
                break;
            }
            data.extend_from_slice(&part);
        }
        Ok(data)
    }

    /// Entries of a directory after `cursor`, in byte order of their names, and whether there
    /// are more.
    pub(crate) fn list(
        &self,
        path: &str,
        cursor: Option<&str>,
    ) -> Result<(Vec<(String, Entry)>, bool)> {
        if !path.is_empty() {
            check_path(path)?;
            if !self.stat(path)?.directory {
                return Err(ToolError::new("conflict", format!("{path} is a file")));
            }
        }
        let mut entries = self.entries(path)?;
        if let Some(cursor) = cursor {
            entries = entries.split_off(&format!("{cursor}\0"));
        }
        let more = entries.len() > PAGE_ENTRIES;
        Ok((entries.into_iter().take(PAGE_ENTRIES).collect(), more))
    }

    /// Replaces a file.
    pub(crate) fn write(&self, path: &str, data: Vec<u8>) -> Result<()> {
        self.check_target(path)?;
        self.stage(path, Change::Written { data: Arc::new(data), modified_ms: now_ms() });
        Ok(())
    }

    /// Appends to a file of at most `most` bytes, and says how many of them had to be brought in.
    pub(crate) fn append(&self, path: &str, data: &[u8], most: u64) -> Result<u64> {
        self.check_target(path)?;
        let staged = matches!(self.staged(path), Some(Change::Written { .. }));
        let mut brought = 0;
        if !staged {
            let before = match self.lookup(path)? {
                Some(_) => self.read_all(path, most)?,
                None => Vec::new(),
            };
            brought = before.len() as u64;
            self.stage(path, Change::Written { data: Arc::new(before), modified_ms: now_ms() });
        }
        if let Some(Change::Written { data: whole, modified_ms }) = self.changes().get_mut(path) {
            Arc::make_mut(whole).extend_from_slice(data);
            *modified_ms = now_ms();
        }
        Ok(brought)
    }

    /// Removes a file or an empty directory.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        let entry = self.stat(path)?;
        if entry.directory && !self.entries(path)?.is_empty() {
            return Err(ToolError::new("conflict", format!("the directory {path} is not empty")));
        }
        self.stage(path, Change::Removed);
        Ok(())
    }

    /// Moves a file of at most `most` bytes.
    pub(crate) fn rename(&self, from: &str, to: &str, most: u64) -> Result<u64> {
        if self.stat(from)?.directory {
            return Err(ToolError::new("unsupported", "only files can be moved"));
        }
        check_path(to)?;
        if self.lookup(to)?.is_some() {
            return Err(ToolError::new("conflict", format!("{to} exists already")));
        }
        let data = self.read_all(from, most)?;
        let size = data.len() as u64;
        self.write(to, data)?;
        self.stage(from, Change::Removed);
        Ok(size)
    }

    /// Hands the changes one level down: to the caller's overlay, or to the directory.
    ///
    /// Into the directory all files are first written aside and then moved to their places, and
    /// what fails half-way is undone, so that a full disk or a missing permission changes nothing.
    ///
    /// # Errors
    /// The directory refuses a change.
    pub(crate) fn commit(&self) -> io::Result<()> {
        let changes = std::mem::take(&mut *self.changes());
        match &self.below {
            Below::Overlay(overlay) => {
                overlay.changes().extend(changes);
                Ok(())
            }
            Below::Directory(dir) => commit(dir, changes),
        }
    }

    fn changes(&self) -> MutexGuard<'_, BTreeMap<String, Change>> {
        // Every change is a single insert: a panic elsewhere leaves the map whole.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged(&self, path: &str) -> Option<Change> {
        self.changes().get(path).cloned()
    }

    fn stage(&self, path: &str, change: Change) {
        self.changes().insert(path.to_owned(), change);
    }

    /// What is at a checked path, staged changes counted.
    fn lookup(&self, path: &str) -> Result<Option<Entry>> {
        match self.staged(path) {
            Some(Change::Written { data, modified_ms }) => {
                return Ok(Some(Entry {
                    directory: false,
                    size: data.len() as u64,
                    modified_ms: Some(modified_ms),
                }));
            }
            Some(Change::Removed) | None => {}
        }
        let inside = format!("{path}/");
        let made = self
            .changes()
            .range(inside.clone()..)
            .take_while(|(name, _)| name.starts_with(&inside))
            .any(|(_, change)| matches!(change, Change::Written { .. }));
        if made {
            return Ok(Some(Entry { directory: true, size: 0, modified_ms: None }));
        }
        if self.changes().contains_key(path) {
            // Removed.
            return Ok(None);
        }
        match &self.below {
            Below::Overlay(overlay) => overlay.lookup(path),
            Below::Directory(dir) => match dir.symlink_metadata(path) {
                Ok(metadata) => Ok(entry(&metadata)),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(file_error(path, &error)),
            },
        }
    }

    fn entries(&self, path: &str) -> Result<BTreeMap<String, Entry>> {
        let mut entries = match &self.below {
            Below::Overlay(overlay) => overlay.entries(path)?,
            Below::Directory(dir) => read_directory(dir, path)?,
        };
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        for (name, change) in self.changes().range(prefix.clone()..) {
            let Some(rest) = name.strip_prefix(&prefix) else { break };
            match (rest.split_once('/'), change) {
                (Some((directory, _)), Change::Written { .. }) => {
                    let made = Entry { directory: true, size: 0, modified_ms: None };
                    entries.entry(directory.to_owned()).or_insert(made);
                }
                (Some(_), Change::Removed) => {}
                (None, Change::Written { data, modified_ms }) => {
                    let (size, modified_ms) = (data.len() as u64, Some(*modified_ms));
                    entries.insert(rest.to_owned(), Entry { directory: false, size, modified_ms });
                }
                (None, Change::Removed) => drop(entries.remove(rest)),
            }
        }
        Ok(entries)
    }

    /// Whether a file can stand at `path`: it is no directory, and nothing above it is a file.
    fn check_target(&self, path: &str) -> Result<()> {
        check_path(path)?;
        if self.lookup(path)?.is_some_and(|entry| entry.directory) {
            return Err(ToolError::new("conflict", format!("{path} is a directory")));
        }
        for (end, _) in path.match_indices('/') {
            let above = &path[..end];
            if self.lookup(above)?.is_some_and(|entry| !entry.directory) {
                return Err(ToolError::new("conflict", format!("{above} is a file")));
            }
        }
        Ok(())
    }
}

/// Checks a path as text.
fn check_path(path: &str) -> Result<()> {
    let refuse = |why: &str| {
        let shown: String = path.chars().take(80).collect();
        let message = format!("the path {shown:?} {why}; paths are relative, like `notes/a.txt`");
        Err(ToolError::new("bad-arguments", message))
    };
    if path.is_empty() {
        return refuse("is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return refuse("is longer than 1,024 bytes");
    }
    if path.starts_with('/') {
        return refuse("is absolute");
    }
    for name in path.split('/') {
        if name.is_empty() {
            return refuse("has an empty part");
        }
        if name == "." || name == ".." {
            return refuse("has a `.` or `..` part");
        }
        if name.len() > MAX_NAME_BYTES {
            return refuse("has a part longer than 255 bytes");
        }
        if name.chars().any(|c| c.is_control() || c == '\\' || c == ':') {
            return refuse("has a control character, `\\` or `:`");
        }
        if is_device(name) {
            return refuse("names a device");
        }
        if name.starts_with(STAGING_PREFIX) {
            return refuse("has a name the host keeps for itself");
        }
    }
    Ok(())
}

/// Names that are devices on some system whatever their extension (RUSTSEC-2024-0445).
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        _ => ["COM", "LPT"].iter().any(|device| {
            let rest = stem.strip_prefix(device).unwrap_or("");
            let mut rest = rest.chars();
            matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        }),
    }
}

fn not_found(path: &str) -> ToolError {
    ToolError::new("not-found", format!("there is no {path} in the workspace"))
}

fn file_error(path: &str, error: &io::Error) -> ToolError {
    let code = match error.kind() {
        io::ErrorKind::NotFound => "not-found",
        io::ErrorKind::PermissionDenied => "denied",
        io::ErrorKind::AlreadyExists => "conflict",
        _ => "unavailable",
    };
    ToolError {
        log: Some(error.to_string()),
        ..ToolError::new(code, format!("{path} cannot be used: {}", error.kind()))
    }
}

/// Whether there is nothing at a path, or what is above it is a file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn now_ms() -> u64 {
    ms(SystemTime::now())
}

fn ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// Files and directories; links, sockets and devices are not shown.
fn entry(metadata: &cap_std::fs::Metadata) -> Option<Entry> {
    let modified_ms = metadata.modified().ok().map(|time| ms(time.into_std()));
    if metadata.is_dir() {
        Some(Entry { directory: true, size: 0, modified_ms })
    } else if metadata.is_file() {
        Some(Entry { directory: false, size: metadata.len(), modified_ms })
    } else {
        None
    }
}

fn read_file(dir: &Dir, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
    let failed = |error: io::Error| file_error(path, &error);
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt;
        // Opening a named pipe must not wait for its other end.
        options.custom_flags(crate::files::NONBLOCK);
    }
    let mut file = dir.open_with(path, &options).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(ToolError::new("conflict", format!("{path} is not a file")));
    }
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut data = Vec::new();
    file.take(length).read_to_end(&mut data).map_err(failed)?;
    Ok(data)
}

fn read_directory(dir: &Dir, path: &str) -> Result<BTreeMap<String, Entry>> {
    let failed = |error: io::Error| file_error(path, &error);
    let at = if path.is_empty() { "." } else { path };
    let found = match dir.read_dir(at) {
        Ok(found) => found,
        // A directory that so far only exists in an overlay, where a file may have to make room.
        Err(error) if is_absent(&error) => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut entries = BTreeMap::new();
    for item in found {
        let item = item.map_err(failed)?;
        let Some(entry) = item.metadata().ok().as_ref().and_then(entry) else { continue };
        let Ok(name) = item.file_name().into_string() else { continue };
        if name.starts_with(STAGING_PREFIX) {
            continue;
        }
        if entries.len() == MAX_ENTRIES {
            let message = format!("the directory {path:?} has more than {MAX_ENTRIES} entries");
            return Err(ToolError::new("too-large", message));
        }
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// The names of files on their way to their places begin with this.
const STAGING_PREFIX: &str = ".ampoule-staged-";

fn commit(dir: &Dir, changes: BTreeMap<String, Change>) -> io::Result<()> {
    let mut work = Commit { dir, undo: Vec::new(), aside: Vec::new() };
    let done = work.run(&changes);
    if done.is_err() {
        work.undo();
    }
    // What cannot be cleared away is named as ours and never shown.
    for aside in &work.aside {
        let _ = dir.remove_file(aside);
    }
    done
}

/// Changes of a directory that can be undone.
struct Commit<'a> {
    dir: &'a Dir,
    undo: Vec<Undo>,
    /// Names in the directory's root that are ours: new files on their way, old ones kept until
    /// all is done.
    aside: Vec<String>,
}

/// How a step is taken back.
enum Undo {
    /// Moves what was kept as the first to where it was, the second.
    Restore(String, String),
    RemoveFile(String),
    RemoveDirectory(String),
    MakeDirectory(String),
}

impl Commit<'_> {
    fn run(&mut self, changes: &BTreeMap<String, Change>) -> io::Result<()> {
        // First what takes room: a full disk changes nothing.
        let mut written = Vec::new();
        for (path, change) in changes {
            let Change::Written { data, .. } = change else { continue };
            let aside = self.name_aside();
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let mut file = self.dir.open_with(&aside, &options)?;
            if let Ok(before) = self.dir.symlink_metadata(path)
                && before.is_file()
            {
                // Who could read the old content can read the new, and nobody else.
                file.set_permissions(before.permissions())?;
            }
            file.write_all(data)?;
            written.push((aside, path));
        }
        // What lies inside a directory comes after it in the order of paths, so goes before it.
        for (path, change) in changes.iter().rev() {
            if matches!(change, Change::Removed) {
                self.remove(path)?;
            }
        }
        for (aside, path) in written {
            if let Some((folder, _)) = path.rsplit_once('/') {
                self.make_directories(folder)?;
            }
            match self.dir.symlink_metadata(path) {
                Ok(metadata) if metadata.is_dir() => self.remove(path)?,
                Ok(_) => self.keep(path)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.undo.push(Undo::RemoveFile(path.clone()));
                }
                Err(error) => return Err(error),
            }
            self.dir.rename(aside, self.dir, path)?;
        }
        Ok(())
    }

    fn name_aside(&mut self) -> String {
        let name = format!("{STAGING_PREFIX}{}", crate::digest::secret_id());
        self.aside.push(name.clone());
        name
    }

    /// Keeps a second name of a file that is about to be replaced.
    fn keep(&mut self, path: &str) -> io::Result<()> {
        let kept = self.name_aside();
        let linked = self.dir.hard_link(path, self.dir, &kept);
        // Some file systems know no second names; then the file is away for a moment.
        linked.or_else(|_| self.dir.rename(path, self.dir, &kept))?;
        self.undo.push(Undo::Restore(kept, path.to_owned()));
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        match self.dir.symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                self.dir.remove_dir(path)?;
                self.undo.push(Undo::MakeDirectory(path.to_owned()));
                Ok(())
            }
            Ok(_) => {
                let kept = self.name_aside();
                self.dir.rename(path, self.dir, &kept)?;
                self.undo.push(Undo::Restore(kept, path.to_owned()));
                Ok(())
            }
            // Not there, or a file has made room above it.
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn make_directories(&mut self, path: &str) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for directory in ends.map(|end| &path[..end]) {
            match self.dir.create_dir(directory) {
                Ok(()) => self.undo.push(Undo::RemoveDirectory(directory.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn undo(&mut self) {
        for step in self.undo.drain(..).rev() {
            let undone = match &step {
                Undo::Restore(kept, path) => self.dir.rename(kept, self.dir, path),
                Undo::RemoveFile(path) => self.dir.remove_file(path),
                Undo::RemoveDirectory(path) => self.dir.remove_dir(path),
                Undo::MakeDirectory(path) => self.dir.create_dir(path),
            };
            match (undone, &step) {
                (Ok(()), _) => {}
                // The file had not come yet.
                (Err(error), Undo::RemoveFile(_)) if error.kind() == io::ErrorKind::NotFound => {}
                (Err(error), _) => tracing::error!("a change cannot be undone: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 1 << 20;

    fn workspace() -> (tempfile::TempDir, Arc<Overlay>) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.txt"), "one").expect("written");
        std::fs::create_dir(folder.path().join("sub")).expect("made");
        let overlay = Overlay::open(folder.path()).expect("opened");
        (folder, overlay)
    }

    fn names(overlay: &Overlay, path: &str) -> Vec<String> {
        overlay.list(path, None).expect("listed").0.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn writes_are_staged_until_the_outermost_commit() {
        let (folder, root) = workspace();
        let child = root.above();
        child.write("new/b.txt", b"two".to_vec()).expect("written");
        child.append("a.txt", b"!", MOST).expect("appended");
        assert_eq!(child.read("a.txt", 0, 100).expect("read"), b"one!");
        assert_eq!(names(&child, ""), ["a.txt", "new", "sub"]);
        assert_eq!(names(&root, ""), ["a.txt", "sub"]);
        child.commit().expect("committed");
        assert_eq!(root.read("new/b.txt", 1, 1).expect("read"), b"w");
        assert!(!folder.path().join("new").exists());
        root.commit().expect("committed");
        assert_eq!(std::fs::read(folder.path().join("a.txt")).expect("read"), b"one!");
        assert_eq!(std::fs::read(folder.path().join("new/b.txt")).expect("read"), b"two");
        assert_eq!(std::fs::read_dir(folder.path().join("new")).expect("read").count(), 1);
    }

    #[test]
    fn what_is_dropped_leaves_nothing() {
        let (folder, root) = workspace();
        let child = root.above();
        child.remove("a.txt").expect("removed");
        child.write("b.txt", vec![]).expect("written");
        assert_eq!(child.stat("a.txt").unwrap_err().code, "not-found");
        drop(child);
        root.commit().expect("nothing to do");
        assert!(folder.path().join("a.txt").exists() && !folder.path().join("b.txt").exists());
    }

    #[test]
    fn removing_and_moving() {
        let (folder, root) = workspace();
        root.write("sub/c", vec![1]).expect("written");
        assert_eq!(root.remove("sub").unwrap_err().code, "conflict");
        root.rename("sub/c", "d", MOST).expect("moved");
        root.remove("sub").expect("empty now");
        assert_eq!(root.rename("a.txt", "d", MOST).unwrap_err().code, "conflict");
        root.commit().expect("committed");
        assert_eq!(std::fs::read(folder.path().join("d")).expect("read"), [1]);
        assert!(!folder.path().join("sub").exists());
    }

    #[test]
    fn files_and_directories_take_each_others_places() {
        let (folder, root) = workspace();
        root.write("sub/c", vec![1]).expect("written");
        root.commit().expect("committed");
        let child = root.above();
        child.remove("a.txt").expect("removed");
        child.write("a.txt/inside/d", vec![2]).expect("a directory now");
        assert!(child.stat("a.txt").expect("there").directory);
        assert_eq!(names(&child, "a.txt"), ["inside"]);
        child.remove("sub/c").expect("removed");
        child.write("sub/x", vec![]).expect("written");
        child.write("sub/y", vec![]).expect("written");
        child.remove("sub/x").expect("removed");
        assert!(child.write("sub", vec![]).is_err(), "there is still `y` in it");
        child.remove("sub/y").expect("removed");
        child.remove("sub").expect("removed");
        child.write("sub", vec![3]).expect("a file now");
        assert_eq!(child.read("sub", 0, 9).expect("read"), [3]);
        child.commit().expect("committed");
        root.commit().expect("committed");
        let read = |path: &str| std::fs::read(folder.path().join(path)).expect("read");
        assert_eq!((read("a.txt/inside/d"), read("sub")), (vec![2], vec![3]));
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 2);
    }

    #[test]
    fn a_commit_that_fails_half_way_is_undone() {
        let (folder, root) = workspace();
        std::fs::write(folder.path().join("sub/c"), "c").expect("written");
        root.write("a.txt", b"changed".to_vec()).expect("written");
        root.write("new/b", vec![1]).expect("written");
        root.remove("sub/c").expect("removed");
        root.remove("sub").expect("removed");
        root.write("z", vec![2]).expect("written");
        // Meanwhile somebody else makes a directory where the last file is to stand.
        std::fs::create_dir(folder.path().join("z")).expect("made");
        std::fs::write(folder.path().join("z/theirs"), "t").expect("written");
        root.commit().expect_err("the directory is not empty");
        let read = |path: &str| std::fs::read(folder.path().join(path)).expect("read");
        assert_eq!((read("a.txt"), read("sub/c")), (b"one".to_vec(), b"c".to_vec()));
        assert_eq!(read("z/theirs"), b"t");
        let left = std::fs::read_dir(folder.path()).expect("read").map(|item| item.expect("item"));
        let mut left: Vec<_> = left.map(|item| item.file_name()).collect();
        left.sort();
        assert_eq!(left, ["a.txt", "sub", "z"]);
    }

    #[test]
    fn no_path_leads_out() {
        let (folder, root) = workspace();
        let long = "x/".repeat(600);
        for path in [
            "",
            "/etc/passwd",
            "../a",
            "sub/../../a",
            "./a",
            "sub//a",
            "a.txt/",
            "a\0b",
            "a\nb",
            "C:\\x",
            "c:x",
            "sub\\a",
            "NUL",
            "com1.txt",
            "aux.",
            &long,
            ".ampoule-staged-1",
        ] {
            for result in [
                root.read(path, 0, 1).map(drop),
                root.write(path, vec![]),
                root.append(path, b"", MOST).map(drop),
                root.remove(path),
                root.stat(path).map(drop),
            ] {
                assert_eq!(result.unwrap_err().code, "bad-arguments", "{path:?}");
            }
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc", folder.path().join("out")).expect("linked");
            std::os::unix::fs::symlink("/etc/passwd", folder.path().join("file")).expect("linked");
            assert!(root.read("out/passwd", 0, 1).is_err());
            assert!(root.read("file", 0, 1).is_err());
            assert!(root.list("out", None).is_err());
            assert_eq!(root.write("out/x", vec![]).unwrap_err().code, "denied");
            assert_eq!(names(&root, ""), ["a.txt", "sub"]);
        }
    }

    #[test]
    fn a_file_is_no_directory_and_the_other_way_round() {
        let (_folder, root) = workspace();
        assert_eq!(root.write("sub", vec![]).unwrap_err().code, "conflict");
        assert_eq!(root.write("a.txt/b", vec![]).unwrap_err().code, "conflict");
        root.write("n/m", vec![]).expect("written");
        assert_eq!(root.write("n", vec![]).unwrap_err().code, "conflict");
        assert_eq!(root.list("a.txt", None).unwrap_err().code, "conflict");
    }

    #[test]
    fn long_directories_come_in_pages() {
        let (_folder, root) = workspace();
        for n in 0..PAGE_ENTRIES + 5 {
            root.write(&format!("many/{n:05}"), vec![]).expect("written");
        }
        let (first, more) = root.list("many", None).expect("listed");
        assert!(more && first.len() == PAGE_ENTRIES);
        let (rest, more) = root.list("many", Some(&first[PAGE_ENTRIES - 1].0)).expect("listed");
        assert!(!more && rest.len() == 5 && rest[0].0 == format!("{PAGE_ENTRIES:05}"));
    }
}
