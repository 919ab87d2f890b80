//! Opening and reading files that others may have put there: never a pipe or a device, never
//! more than is wanted.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

#[cfg(unix)]
const LINUX: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// `O_NONBLOCK`, whose number differs between systems: opening a named pipe does not wait for its
/// other end.
#[cfg(unix)]
pub(crate) const NONBLOCK: i32 = if LINUX { 0o4000 } else { 0x4 };

/// `O_NOFOLLOW`, whose number differs between systems, and on Linux between machines: a symbolic
/// link is not opened.
#[cfg(unix)]
const NOFOLLOW: i32 = if !LINUX {
    0x100
} else if cfg!(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "powerpc",
    target_arch = "powerpc64"
)) {
    0o100_000
} else {
    0o400_000
};

/// Opens a regular file for reading; with `follow` also through a symbolic link.
///
/// # Errors
/// It cannot be opened, or is no regular file.
pub(crate) fn open_regular(path: &Path, follow: bool) -> io::Result<File> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(if follow { NONBLOCK } else { NONBLOCK | NOFOLLOW });
    }
    #[cfg(not(unix))]
    if !follow && std::fs::symlink_metadata(path)?.is_symlink() {
        return Err(refused());
    }
    let file = options.open(path)?;
    // Of what was opened, not of what is at the path by now.
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused()) }
}

/// The content of a file of at most `most` bytes.
///
/// # Errors
/// It cannot be read, or holds more.
pub(crate) fn read_bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len().min(most) as usize;
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(size).is_err() {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    // Its size may be no size of its content, and may grow.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {most} bytes"),
        )),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"12345").expect("written");
        let read = |most| read_bounded(open_regular(&path, false).expect("opened"), most);
        assert_eq!(read(5).expect("read"), b"12345");
        assert_eq!(read(4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(open_regular(folder.path(), true).is_err());
        assert!(open_regular(&folder.path().join("gone"), true).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn pipes_devices_and_links_are_refused_without_waiting() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().expect("run");
        assert!(made.success());
        std::fs::write(at("file"), b"1").expect("written");
        for (link, target) in [("to-file", "file"), ("to-pipe", "pipe"), ("to-zero", "/dev/zero")] {
            std::os::unix::fs::symlink(target, at(link)).expect("linked");
        }
        for name in ["pipe", "to-pipe", "to-zero"] {
            assert!(open_regular(&at(name), true).is_err(), "{name}");
            assert!(open_regular(&at(name), false).is_err(), "{name}");
        }
        assert!(open_regular(&at("to-file"), true).is_ok());
        assert!(open_regular(&at("to-file"), false).is_err());
    }
}
