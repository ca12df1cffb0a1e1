//! Standard files of a function in a container: files of this host in memory, mounted
//! into it one by one.
//!
//! The engine's streams are not used, since output would pass through the shim and
//! the engine, whose work takes CPUs from the function and makes it wait.
//!
//! The kernel charges a page to whoever touches it first, so those of the output are
//! allocated here, beforehand. Otherwise output would count as memory of the
//! function, up to its being killed for it, which it does not in the lanes of plain
//! processes.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bollard::models::{Mount, MountType};
use nix::fcntl::{FallocateFlags, fallocate};

use super::super::program_run;
use super::image::IMAGE_FOLDER;
use cyclometer_core::units::Bytes;
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_workload::{FunctionInput, OutputDigest};

/// Folder whose files live in memory.
const MEMORY_FOLDER: &str = "/dev/shm";
/// Most bytes of output that are allocated beforehand; output beyond them counts as
/// the function's memory.
pub(super) const ALLOCATED_OUTPUT: u64 = 256 << 20;
const ALLOCATED_ERRORS: u64 = 64 << 10;
/// Mode of the outputs: the function may be any user.
const OUTPUT_MODE: u32 = 0o666;

/// The three files, in a folder that is removed with this value.
#[derive(Debug)]
pub(super) struct StandardFiles {
    folder: PathBuf,
    output: File,
    error_output: File,
    /// Most bytes that each file may hold.
    pub limit: Bytes,
}

impl StandardFiles {
    /// Creates the files: standard input with its content, and empty outputs.
    pub fn create(
        owner: &ProcessIdentity,
        tag: &str,
        input: &FunctionInput,
        limit: Bytes,
    ) -> io::Result<Self> {
        Self::create_in(Path::new(MEMORY_FOLDER), owner, tag, input, limit)
    }

    fn create_in(
        root: &Path,
        owner: &ProcessIdentity,
        tag: &str,
        input: &FunctionInput,
        limit: Bytes,
    ) -> io::Result<Self> {
        let folder = root.join(cyclometer_system::owner::name_for(owner, tag));
        // Nobody else may look in; a container gets the files, not the folder.
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let made = Self::create_standard_files(&folder, input);
        let (output, errors) = made.inspect_err(|_| remove_folder(&folder))?;
        let files = Self { folder, output, error_output: errors, limit };
        files.allocate_outputs()?;
        Ok(files)
    }

    fn create_standard_files(folder: &Path, input: &FunctionInput) -> io::Result<(File, File)> {
        let open = |name: &str, mode: u32| {
            let path = folder.join(name);
            let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
            // The container's user may be any user of this host; set explicitly
            // because of the umask.
            file.set_permissions(Permissions::from_mode(mode))?;
            Ok::<_, io::Error>(file)
        };
        let mut standard_input = open("in", 0o444)?;
        if !input.is_empty() {
            standard_input.write_all(&input.content())?;
        }
        Ok((open("out", OUTPUT_MODE)?, open("err", OUTPUT_MODE)?))
    }

    /// Empties the outputs for the next function.
    pub(crate) fn reset_outputs(&self) -> io::Result<()> {
        // A function that is root owns them, and may have closed them to others.
        for file in [&self.output, &self.error_output] {
            file.set_permissions(Permissions::from_mode(OUTPUT_MODE))?;
        }
        self.output.set_len(0)?;
        self.error_output.set_len(0)?;
        self.allocate_outputs()
    }

    fn allocate_outputs(&self) -> io::Result<()> {
        let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        for (file, most) in
            [(&self.output, ALLOCATED_OUTPUT), (&self.error_output, ALLOCATED_ERRORS)]
        {
            let size = i64::try_from(self.limit.0.min(most)).unwrap_or(i64::MAX);
            if size > 0 {
                fallocate(file, keep, 0, size)?;
            }
        }
        Ok(())
    }

    /// Returns the mounts of the files, for the engine.
    pub(crate) fn bind_mounts(&self) -> Vec<Mount> {
        let mount = |name: &str| Mount {
            typ: Some(MountType::BIND),
            source: Some(self.folder.join(name).display().to_string()),
            target: Some(format!("/{IMAGE_FOLDER}/{name}")),
            read_only: Some(name == "in"),
            ..Mount::default()
        };
        ["in", "out", "err"].map(mount).into()
    }

    /// Returns the size in bytes of the longer of both outputs.
    pub(crate) fn longest_output(&self) -> u64 {
        program_run::file_size(&self.output).max(program_run::file_size(&self.error_output))
    }

    /// Returns length and digest of standard output.
    pub(crate) fn stdout_digest(&mut self) -> io::Result<OutputDigest> {
        program_run::digest_output(&mut self.output)
    }

    /// Returns the end of standard error on one line; `None` if nothing was written.
    pub(crate) fn stderr_tail(&mut self) -> Option<String> {
        Some(program_run::read_tail(&mut self.error_output)).filter(|text| !text.is_empty())
    }
}

impl Drop for StandardFiles {
    fn drop(&mut self) {
        remove_folder(&self.folder);
    }
}

fn remove_folder(folder: &Path) {
    // What cannot be removed now is swept at the next start.
    let _ = cyclometer_system::files::remove_tree(folder);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn me() -> ProcessIdentity {
        ProcessIdentity::current().expect("/proc is mounted")
    }

    #[test]
    fn output_is_allocated_beforehand_and_starts_empty() {
        let limit = Bytes(1 << 20);
        let Ok(mut files) =
            StandardFiles::create(&me(), "stdio", &FunctionInput::from_bytes(*b"abc"), limit)
        else {
            return cyclometer_testkit::skip("no files in memory here");
        };
        let folder = files.folder.clone();
        let about = |name: &str| fs::metadata(folder.join(name)).expect("there");
        assert_eq!((about("in").len(), about("in").mode() & 0o777), (3, 0o444));
        assert_eq!((about("out").len(), about("out").mode() & 0o777), (0, 0o666));
        // Blocks of 512 bytes: 1 MiB.
        assert_eq!(about("out").blocks(), 2048);
        assert_eq!(about(".").mode() & 0o777, 0o700);

        fs::write(folder.join("err"), "bad\u{1b}[2J\nend\n").expect("written");
        let mut out = OpenOptions::new().write(true).open(folder.join("out")).expect("opened");
        out.write_all(b"result").expect("written");
        assert_eq!(files.stdout_digest().expect("read"), OutputDigest::from_content(b"result"));
        assert_eq!(files.stderr_tail().as_deref(), Some("bad\\x1b[2J end"));
        files.reset_outputs().expect("emptied");
        assert_eq!(files.stdout_digest().expect("read"), OutputDigest::from_content(b""));
        assert_eq!((files.stderr_tail(), about("out").blocks()), (None, 2048));
        drop(files);
        assert!(!folder.exists());
    }
}
