//! Roots of images, unpacked for runtimes that take folders: from an engine that has the image, or
//! from podman, never from a registry.
//!
//! A root is unpacked once and kept in the cache by the image's id, a digest of its content, which
//! stands for the same files tomorrow. It is unpacked under a temporary name, which the next
//! command removes if this process is killed, and gets its own name when it is complete. What is
//! kept is never changed: runtimes get a copy, whose files are hard links where nobody can write to
//! them.

mod entry_program;
mod podman_source;
mod replicate;
mod unpack;
#[cfg(test)]
mod unpack_tests;
mod users;

pub(crate) use entry_program::check_entry_program;
pub(crate) use replicate::{FileSharing, replicate_root};
pub(crate) use unpack::make_folder_in_root;
pub(crate) use users::read_account_files;

use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use self::podman_source::PodmanImage;
use self::unpack::{UnpackBounds, Unpacker};
use super::cache::{Cache, IMAGES};
use super::{Cancel, LaneError, docker, monotonic_now};
use crate::docker::responses::sanitize_engine_text;
use crate::image_config::ImageConfig;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_system::paths::{OwnFolder, has_room, partial_name};

/// End of the names of roots: changes whenever other roots would be unpacked from the same image.
const FORMAT: &str = "root1";

/// Name of the file with the size of a complete root.
const SIZE_FILE: &str = "size";

/// Name of the root in its folder.
const ROOT: &str = "rootfs";

/// An image whose root is there.
#[derive(Debug, Clone)]
pub(crate) struct ImageRoot {
    pub config: ImageConfig,
    /// Folder with its files, which must not be changed.
    pub path: PathBuf,
    /// Size of the content of its files.
    pub size: Bytes,
    /// Duration of the unpacking; `None`: it was kept.
    pub took: Option<Nanos>,
}

/// Roots of images, in the cache or, where nothing may be kept, in a lane's folder.
#[derive(Debug)]
pub(crate) struct ImageRoots {
    cache: Cache,
    folder: OwnFolder,
}

/// A folder that is removed when the value is dropped.
#[derive(Debug)]
pub(crate) struct TemporaryRoot(PathBuf);

/// An image that somebody here has.
struct FoundImage {
    source: ImageSource,
    id: String,
    config: ImageConfig,
    size: Option<Bytes>,
}

/// Engine that has an image.
enum ImageSource {
    Engine,
    Podman,
}

/// Finds an image in the engine or, where there is none that has it, in podman.
fn find_image(reference: &str, cancel: &Cancel) -> Result<FoundImage, LaneError> {
    if is_path(reference) {
        let shown = sanitize_engine_text(reference);
        return Err(LaneError::Unsupported {
            reason: format!(
                "images are taken from an engine or from podman, not from files: `docker load -i \
                 {shown}` or `podman load -i {shown}`, and name the image"
            ),
        });
    }
    let reason = match docker::inspect_image(reference) {
        Ok((id, config, size)) => {
            return Ok(FoundImage { source: ImageSource::Engine, id, config, size });
        }
        Err(LaneError::Cancelled) => return Err(LaneError::Cancelled),
        Err(error) => error.to_string(),
    };
    match podman_source::find_image(reference, cancel) {
        Ok(Some(image)) => {
            let PodmanImage { id, config, size } = image;
            Ok(FoundImage { source: ImageSource::Podman, id, config, size })
        }
        Ok(None) => Err(LaneError::Unsupported { reason }),
        Err(more) => Err(LaneError::Unsupported { reason: format!("{reason}; {more}") }),
    }
}

/// Returns whether a text is the path of a file and no name of an image.
fn is_path(reference: &str) -> bool {
    reference.starts_with(['.', '/', '~']) || reference.ends_with('/')
}

impl TemporaryRoot {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryRoot {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the clean-up of the next command.
        if self.0.symlink_metadata().is_ok() {
            let _ = crate::clean::remove_path(&self.0);
        }
    }
}

impl ImageRoots {
    /// Opens the cache of roots; `scratch` takes its place where nothing may be kept.
    ///
    /// # Errors
    /// The reason why there is no folder.
    pub fn open(scratch: &Path) -> Result<Self, String> {
        let cache = Cache::open(IMAGES, &|name| name.ends_with(FORMAT));
        let folder = cache.folder().map_or_else(|| scratch.join(IMAGES), |it| it.path().to_owned());
        let folder = OwnFolder::open(&folder)
            .map_err(|error| format!("no folder for the files of images: {error}"))?;
        Ok(Self { cache, folder })
    }

    /// Returns why roots are not kept, if so.
    pub fn refusal_reason(&self) -> Option<String> {
        let cause = self.cache.refusal_cause()?;
        Some(format!("the files of the image are not kept, and unpacked again each time: {cause}"))
    }

    /// Makes an empty folder for this process, in the same file system as the roots.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn make_temporary_folder(&self, name: &str) -> std::io::Result<TemporaryRoot> {
        let path = self.folder.path().join(partial_name(name)?);
        DirBuilder::new().mode(0o700).create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(TemporaryRoot(path))
    }

    /// Finds an image, and unpacks it unless its root was kept.
    ///
    /// # Errors
    /// [`LaneError::Unsupported`] with what was tried, [`LaneError::Cancelled`].
    pub fn find_or_unpack(&self, reference: &str, cancel: &Cancel) -> Result<ImageRoot, LaneError> {
        let unsupported = |reason: String| LaneError::Unsupported { reason };
        let found = find_image(reference, cancel)?;
        let config = found.config;
        config.check_machine().map_err(|refusal| unsupported(refusal.to_string()))?;
        let id = found.id.strip_prefix("sha256:").unwrap_or(&found.id);
        let name = format!("{}.{FORMAT}", id.replace(':', "-"));
        let path = self.folder.path().join(&name).join(ROOT);
        if let Some(size) = self.find_complete_root(&name) {
            return Ok(ImageRoot { config, path, size, took: None });
        }
        if let Some(size) = found.size.filter(|size| !has_room(self.folder.path(), size.0)) {
            return Err(unsupported(format!(
                "the files of image {} need {size}, and {} has no room for them: make room, or set \
                 XDG_CACHE_HOME to a folder with more",
                config.reference,
                self.folder.path().display()
            )));
        }
        let begun = monotonic_now();
        let unpack = |archive: &mut dyn Read| self.unpack_root(&name, archive);
        let unpacked = match found.source {
            ImageSource::Engine => {
                docker::root_export::export_image_root(&found.id, cancel, unpack)
                    .map_err(|error| error.to_string())
            }
            ImageSource::Podman => podman_source::export_image(&found.id, cancel, unpack),
        };
        let size = unpacked.map_err(|reason| {
            if cancel.is_cancelled() {
                return LaneError::Cancelled;
            }
            let image = &config.reference;
            unsupported(format!("image {image} cannot be unpacked: {reason}"))
        })?;
        let took = Some(monotonic_now().saturating_since(begun));
        Ok(ImageRoot { config, path, size, took })
    }

    /// Returns the size of a root that is complete, and marks it as used.
    fn find_complete_root(&self, name: &str) -> Option<Bytes> {
        self.folder.path().join(name).symlink_metadata().ok()?;
        let inside = self.folder.open_subfolder(name).ok()?;
        let text = String::from_utf8(inside.read_file(SIZE_FILE, 64)?).ok()?;
        let size = text.trim().parse().ok()?;
        inside.mark_used(SIZE_FILE);
        Some(Bytes(size))
    }

    /// Unpacks an archive under a temporary name and renames it; returns the size of its content.
    fn unpack_root(&self, name: &str, archive: &mut dyn Read) -> Result<Bytes, String> {
        let failed = |error: std::io::Error| format!("no folder for its files: {error}");
        let partial = self.make_temporary_folder(name).map_err(failed)?;
        let root = partial.path().join(ROOT);
        DirBuilder::new().mode(0o755).create(&root).map_err(failed)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        let mut unpacker =
            Unpacker::open(&root, UnpackBounds::default()).map_err(|error| error.to_string())?;
        unpacker.unpack_archive(archive).map_err(|error| error.to_string())?;
        let size = unpacker.content_size();
        let size_file = partial.path().join(SIZE_FILE);
        fs::write(&size_file, size.0.to_string())
            .and_then(|()| fs::set_permissions(&size_file, fs::Permissions::from_mode(0o600)))
            .map_err(failed)?;
        // A name must not survive a crash of the machine that the files do not survive.
        nix::unistd::syncfs(self.folder.as_file()).map_err(|error| failed(error.into()))?;
        let complete = self.folder.path().join(name);
        if let Err(error) = fs::rename(partial.path(), &complete) {
            // Another process may have been faster; anything else of that name was never complete.
            if self.find_complete_root(name).is_none() {
                self.folder.remove_entry(name);
                fs::rename(partial.path(), &complete).map_err(|_| failed(error))?;
            }
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an archive with one file of that name.
    fn archive(name: &str) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(5);
        header.set_mode(0o644);
        header.set_uid(u64::from(nix::unistd::geteuid().as_raw()));
        header.set_gid(u64::from(nix::unistd::getegid().as_raw()));
        header.set_cksum();
        let mut bytes = [header.as_bytes(), &b"hello"[..]].concat();
        bytes.resize(2048, 0);
        bytes
    }

    #[test]
    fn only_complete_roots_are_kept_and_what_failed_leaves_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("images");
        let folder = OwnFolder::open(&path).expect("ours");
        let roots = ImageRoots { cache: Cache::in_folder(&path), folder };
        let names = || {
            let all = fs::read_dir(&path).expect("there");
            let mut names: Vec<_> = all.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        let cut_off = &archive("file")[..514];
        for bad in [&*archive("../outside"), cut_off, b"no archive"] {
            roots.unpack_root("a.root1", &mut &*bad).expect_err("refused");
            assert_eq!(names(), [""; 0]);
        }
        // What has the name, but was never complete.
        fs::create_dir_all(path.join("a.root1/rootfs")).expect("made");
        assert_eq!(roots.find_complete_root("a.root1"), None);
        assert_eq!(roots.unpack_root("a.root1", &mut &*archive("file")), Ok(Bytes(5)));
        assert_eq!(roots.find_complete_root("a.root1"), Some(Bytes(5)));
        // Another process that was slower: the root that is there may be in use, and stays.
        assert_eq!(roots.unpack_root("a.root1", &mut &*archive("other")), Ok(Bytes(5)));
        assert!(path.join("a.root1/rootfs/file").is_file() && names() == ["a.root1"]);
        let cell = roots.make_temporary_folder("cell0").expect("made");
        assert_eq!(names().len(), 2);
        drop(cell);
        assert_eq!(names(), ["a.root1"]);
        assert!(!place.path().join("outside").exists());
    }

    #[test]
    fn files_are_no_names_of_images() {
        for path in ["./fn.tar", "/tmp/layout/", "layout/"] {
            let refused = find_image(path, &Cancel::default()).err().expect("refused").to_string();
            assert!(refused.contains("`docker load -i") && refused.contains(path), "{refused}");
        }
        assert!(!is_path("me/fn:1"));
    }
}
