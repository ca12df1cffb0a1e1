//! The bundle of a cell: a folder with the root of its container, and the file of its settings.

use std::path::{Path, PathBuf};

use super::super::image_root::{FileSharing, ImageRoot, ImageRoots, TemporaryRoot, replicate_root};
use super::super::{Cancel, Job, LaneError};
use super::container_settings::ContainerSettings;
use super::oci_bundle;
use crate::docker::{check_static, list_hidden_mounts, quote_words};
use cyclometer_core::units::Bytes;
use cyclometer_workload::NativeProgram;

/// Largest content of a root that is copied for every invocation.
const MAX_WRITABLE_BYTES: Bytes = Bytes(1 << 30);

/// Name of the file with the function's variables, one a line.
const ENVIRONMENT_FILE: &str = "environment";

/// A bundle whose files are there.
#[derive(Debug)]
pub(super) struct Bundle {
    folder: BundleFolder,
    source: RootSource,
    pub settings: ContainerSettings,
}

#[derive(Debug)]
enum BundleFolder {
    /// In the lane's folder, which is removed with the lane.
    Lane(PathBuf),
    /// Beside the roots of images, in the same file system.
    Roots(TemporaryRoot),
}

#[derive(Debug)]
enum RootSource {
    Program(Vec<u8>),
    Image(Box<ImageRoot>),
}

impl Bundle {
    /// Makes the bundle of a job's native program in `folder`.
    ///
    /// # Errors
    /// Returns a setting that cannot be given here, or the error of the file system.
    pub fn for_program(job: &Job, folder: PathBuf, program: &[u8]) -> Result<Self, String> {
        if let Some(NativeProgram::File(_)) = job.workload.native {
            check_static(program).map_err(|cause| {
                format!(
                    "the native program cannot run in a container that holds nothing else: \
                     {cause}; link it with `-static`, use an image that has what it needs \
                     (--image), or leave this lane out"
                )
            })?;
        }
        let settings = ContainerSettings::for_program(job)?;
        let source = RootSource::Program(program.to_vec());
        let bundle = Self { folder: BundleFolder::Lane(folder), source, settings };
        std::fs::create_dir_all(bundle.path()).map_err(|error| error.to_string())?;
        bundle.write_root(&Cancel::default())?;
        Ok(bundle)
    }

    /// Makes the bundle of a job's image.
    ///
    /// # Errors
    /// Returns errors of [`Self::for_program`], and problems of the image.
    pub fn for_image(
        job: &Job,
        reference: &str,
        roots: &ImageRoots,
        cancel: &Cancel,
    ) -> Result<Self, LaneError> {
        let unsupported = |reason: String| LaneError::Unsupported { reason };
        let image = roots.find_or_unpack(reference, cancel)?;
        let settings =
            ContainerSettings::for_image(job, &image.config, &image.path).map_err(unsupported)?;
        if settings.is_writable && image.size > MAX_WRITABLE_BYTES {
            return Err(unsupported(format!(
                "the files of image {} have {}, and a root that may be written is copied for every \
                 invocation, up to {MAX_WRITABLE_BYTES}: use --writable in docker lanes only",
                image.config.reference, image.size
            )));
        }
        let failed = |reason: String| LaneError::Prepare {
            workload: job.workload.name.clone(),
            reason: format!("no folder for the image's files: {reason}"),
        };
        let folder = roots
            .make_temporary_folder(&format!("cell{}", job.cell))
            .map_err(|error| failed(error.to_string()))?;
        let source = RootSource::Image(Box::new(image));
        let bundle = Self { folder: BundleFolder::Roots(folder), source, settings };
        match bundle.write_root(cancel) {
            Err(_) if cancel.is_cancelled() => Err(LaneError::Cancelled),
            other => other.map(|()| bundle).map_err(failed),
        }
    }

    /// Returns the folder of the bundle.
    pub fn path(&self) -> &Path {
        match &self.folder {
            BundleFolder::Lane(path) => path,
            BundleFolder::Roots(folder) => folder.path(),
        }
    }

    /// Returns the image that it runs, if it runs one.
    pub const fn image(&self) -> Option<&ImageRoot> {
        match &self.source {
            RootSource::Image(image) => Some(image),
            RootSource::Program(_) => None,
        }
    }

    /// Returns the size of the content of its root.
    pub fn content_size(&self) -> Bytes {
        match &self.source {
            RootSource::Program(program) => Bytes(program.len() as u64),
            RootSource::Image(image) => image.size,
        }
    }

    /// Replaces a root that a function may have written to by a new one.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn renew_writable_root(&self, cancel: &Cancel) -> Result<(), String> {
        if !self.settings.is_writable {
            return Ok(());
        }
        self.write_root(cancel).map_err(|error| format!("no new root for the function: {error}"))
    }

    fn write_root(&self, cancel: &Cancel) -> Result<(), String> {
        let root = self.path().join("rootfs");
        if self.settings.is_writable && root.symlink_metadata().is_ok() {
            crate::clean::remove_path(&root)?;
        }
        match &self.source {
            RootSource::Program(program) => {
                oci_bundle::write_program_root(&root, program)
                    .map_err(|error| error.to_string())?;
            }
            RootSource::Image(image) => {
                let sharing = if self.settings.is_writable {
                    FileSharing::Copied
                } else {
                    FileSharing::Linked
                };
                let copied = replicate_root(&image.path, &root, sharing, cancel);
                copied.map_err(|error| error.to_string())?;
            }
        }
        self.settings.make_workdir(&root)
    }

    /// Writes `config.json`; `group` is the path of the container's control group.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn write_config(&self, job: &Job, group: Option<&str>) -> Result<(), String> {
        let folder = self.path();
        oci_bundle::write_config(folder, &self.settings, job.limits, group)
            .map_err(|error| format!("cannot write the bundle in {}: {error}", folder.display()))
    }

    /// Returns the settings as options of a command line like that of `podman run`, and writes the
    /// file that they name.
    ///
    /// # Errors
    /// Returns a setting that cannot be written so, or the error of the file system.
    pub fn write_run_options(&self) -> Result<Vec<String>, String> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path().join(ENVIRONMENT_FILE);
        let options = self.settings.to_run_options(&path.to_string_lossy())?;
        let lines = self.settings.environment_lines()?;
        std::fs::write(&path, lines)
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(options)
    }

    /// Returns remarks for whoever started the recording.
    pub fn list_notes(&self, job: &Job, roots: Option<&ImageRoots>) -> Vec<String> {
        let mut notes: Vec<String> =
            roots.and_then(ImageRoots::refusal_reason).into_iter().collect();
        notes.extend(list_hidden_mounts(job));
        if self.settings.has_network {
            notes.push("--network: functions use this machine's own network".to_owned());
        }
        if let Some(image) = self.image() {
            let config = &image.config;
            notes.push(format!(
                "image {} runs {} as user {} in {}",
                config.reference,
                quote_words(&self.settings.args),
                self.settings.user,
                self.settings.workdir
            ));
            if !config.volumes.is_empty() && !self.settings.is_writable {
                notes.push(format!(
                    "image {} has volumes ({}), which cannot be written here",
                    config.reference,
                    config.volumes.join(", ")
                ));
            }
            if !nix::unistd::geteuid().is_root() {
                notes.push(format!(
                    "the files of image {} belong to you here, since only root can give them their \
                     owners",
                    config.reference
                ));
            }
        }
        notes
    }
}
