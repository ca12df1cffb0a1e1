//! Opening a path below a folder without leaving it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstat};

use super::{FileError, FileKind};

/// Most links on the way to one file, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// One component of a path that is being opened.
enum PathStep {
    Into(OsString),
    Up,
}

/// Opens `path` below `root` as a handle (`O_PATH`).
///
/// Every component is opened by itself, relative to the one before, and never through a
/// link: links are read and followed here, as long as they stay below `root`. The path
/// stays below `root` whatever others rename meanwhile, on every kernel, and an error can
/// name the link that leads out. `folder` is the root's name for messages.
pub(super) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &Path,
    folder: &Path,
) -> Result<OwnedFd, FileError> {
    let leads_out = |link: Option<&(PathBuf, PathBuf)>| match link.cloned() {
        Some((link, target)) => FileError::LeadsOut { link, target, folder: folder.to_owned() },
        None => FileError::Outside(folder.to_owned()),
    };
    // Each step with the index of the link that it comes from.
    let first = parse_steps(path).ok_or_else(|| leads_out(None))?;
    let mut steps: VecDeque<(PathStep, Option<usize>)> =
        first.into_iter().map(|step| (step, None)).collect();
    // Handles and names of the folders from the root to the current one.
    let mut way: Vec<(OwnedFd, OsString)> = Vec::new();
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    while let Some((step, by)) = steps.pop_front() {
        let PathStep::Into(name) = step else {
            if way.pop().is_none() {
                return Err(leads_out(by.and_then(|number| links.get(number))));
            }
            continue;
        };
        let at = way.last().map_or(root, |(handle, _)| handle.as_fd());
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = openat(at, name.as_os_str(), flags, Mode::empty())?;
        if FileKind::from_mode(fstat(&handle)?.st_mode) != FileKind::Link {
            way.push((handle, name));
            continue;
        }
        if links.len() == MAX_LINKS {
            return Err(FileError::Circle);
        }
        let target = PathBuf::from(readlinkat(&handle, "")?);
        let link = (way.iter().map(|(_, name)| name).chain([&name]).collect(), target);
        let more = self::parse_steps(&link.1).ok_or_else(|| leads_out(Some(&link)))?;
        for step in more.into_iter().rev() {
            steps.push_front((step, Some(links.len())));
        }
        links.push(link);
    }
    match way.pop() {
        Some((handle, _)) => Ok(handle),
        None => Ok(openat(root, ".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?),
    }
}

/// Splits a relative path into steps; returns `None` for an absolute one.
fn parse_steps(path: &Path) -> Option<Vec<PathStep>> {
    let step = |part| match part {
        Component::Normal(name) => Some(Some(PathStep::Into(name.to_owned()))),
        Component::ParentDir => Some(Some(PathStep::Up)),
        Component::CurDir => Some(None),
        Component::RootDir | Component::Prefix(_) => None,
    };
    let steps: Option<Vec<Option<PathStep>>> = path.components().map(step).collect();
    steps.map(|steps| steps.into_iter().flatten().collect())
}
