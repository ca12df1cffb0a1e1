//! Settings of a container without an engine: what runs in it, as whom, and what it sees. Runtimes
//! get them as `config.json`, or as options of their command line.

use std::path::Path;

use super::super::Job;
use super::super::image_root::{check_entry_program, make_folder_in_root, read_account_files};
use super::oci_bundle::max_processes;
use crate::image_config::ImageConfig;
use crate::image_user::{AccountFiles, FunctionUser};
use cyclometer_system::files::{Folder, LinkPolicy};
use cyclometer_workload::{EnvironmentVariable, SharedFolder};

/// Name that containers have for themselves.
pub(super) const HOST_NAME: &str = "function";

/// Command of a container and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerSettings {
    /// Command line with its program.
    pub args: Vec<String>,
    pub environment: Vec<EnvironmentVariable>,
    /// Absolute path of the folder in which it starts.
    pub workdir: String,
    pub user: FunctionUser,
    pub folders: Vec<SharedFolder>,
    pub has_network: bool,
    pub is_writable: bool,
    /// Whether it runs an image, which expects what engines give: devices, processes, kernel
    /// settings. Programs of one file get nothing.
    pub is_image: bool,
}

impl ContainerSettings {
    /// Settings for the native program, which lies in the root as `/function`.
    ///
    /// # Errors
    /// Returns a setting that cannot be given here, and what to do.
    pub fn for_program(job: &Job) -> Result<Self, String> {
        let text = job.rules.user.as_deref().unwrap_or_default();
        let user = AccountFiles::default().resolve_user(&job.workload.name, text).map_err(|_| {
            format!(
                "user `{text}`: a native program has no user database in its container, so give \
                 numbers: --user 1000:1000"
            )
        })?;
        let args = std::iter::once("/function".to_owned()).chain(job.preset.args.iter().cloned());
        let settings = Self {
            args: args.collect(),
            environment: job.preset.env.clone(),
            workdir: job.preset.workdir.clone().unwrap_or_else(|| "/".to_owned()),
            user,
            folders: job.preset.dirs.clone(),
            has_network: job.rules.network,
            is_writable: job.rules.writable,
            is_image: false,
        };
        settings.check_rights(nix::unistd::geteuid().is_root())
    }

    /// Settings for an image whose root is in that folder.
    ///
    /// # Errors
    /// Returns a setting that cannot be given here, and what to do.
    pub fn for_image(job: &Job, config: &ImageConfig, root: &Path) -> Result<Self, String> {
        let args = config.command_line(&job.preset.args).map_err(|error| error.to_string())?;
        let root = Folder::open(root, LinkPolicy::Beneath).map_err(|error| error.to_string())?;
        let user = job.rules.user.as_deref().unwrap_or(&config.user);
        let refuse = |reason: String| format!("image {} cannot be run: {reason}", config.reference);
        let accounts = read_account_files(&root).map_err(refuse)?;
        let user = accounts.resolve_user(&config.reference, user).map_err(|it| it.to_string())?;
        let mut environment = config.environment_with(&job.preset.env);
        // As engines have it.
        let home = user.home.clone().unwrap_or_else(|| "/".to_owned());
        for (name, value) in [("HOSTNAME", HOST_NAME.to_owned()), ("HOME", home)] {
            if environment.iter().all(|variable| variable.name != name) {
                environment.push(EnvironmentVariable { name: name.to_owned(), value });
            }
        }
        let settings = Self {
            args,
            environment,
            workdir: job.preset.workdir.clone().unwrap_or_else(|| config.workdir.clone()),
            user,
            folders: job.preset.dirs.clone(),
            has_network: job.rules.network,
            is_writable: job.rules.writable,
            is_image: true,
        };
        settings.check_program(&root).map_err(refuse)?;
        settings.check_rights(nix::unistd::geteuid().is_root())
    }

    /// Checks that its program is there, unless it may lie in a folder of this machine.
    fn check_program(&self, root: &Folder) -> Result<(), String> {
        let Some(program) = self.args.first().filter(|_| self.folders.is_empty()) else {
            return Ok(());
        };
        let search = self.environment.iter().find(|variable| variable.name == "PATH");
        let search = search.map_or("", |variable| &*variable.value);
        check_entry_program(root, program, &self.workdir, search)
    }

    /// Checks that this user can give the function its own, and that folders leave it a root.
    fn check_rights(mut self, is_root: bool) -> Result<Self, String> {
        let covers = |folder: &&SharedFolder| folder.guest.trim_matches('/').is_empty();
        if let Some(folder) = self.folders.iter().find(covers) {
            return Err(format!(
                "folder {folder} would be in the place of the whole root: give it another path, \
                 such as {}:/data",
                folder.host.display()
            ));
        }
        if is_root {
            return Ok(self);
        }
        if (self.user.uid, self.user.gid) != (0, 0) {
            return Err(format!(
                "user {} of a container can only be had by root here, since an ordinary user has \
                 one number to give: run as root, or set --user 0 (which is you)",
                self.user
            ));
        }
        self.user.groups.clear();
        Ok(self)
    }

    /// Makes the folder in which the function starts, as engines do, unless it is there or shared.
    ///
    /// # Errors
    /// The reason why it cannot be made.
    pub fn make_workdir(&self, root: &Path) -> Result<(), String> {
        let is_shared =
            self.folders.iter().any(|it| Path::new(&self.workdir).starts_with(&it.guest));
        // Links in it are followed by the runtime.
        if is_shared || self.workdir == "/" {
            return Ok(());
        }
        make_folder_in_root(root, Path::new(&self.workdir))
            .map_err(|error| format!("cannot make the folder {} in it: {error}", self.workdir))
    }

    /// Returns the options for a command line like that of `podman run`: everything that the
    /// settings say but the command itself. Variables are in a file, since everybody can read
    /// command lines.
    ///
    /// # Errors
    /// Returns a setting that cannot be written on a command line.
    pub fn to_run_options(&self, environment_file: &str) -> Result<Vec<String>, String> {
        let network = if self.has_network { "host" } else { "none" };
        let mut options = vec!["--network".to_owned(), network.to_owned()];
        options.extend(["--pids-limit".to_owned(), max_processes(self).to_string()]);
        if !self.is_writable {
            options.push("--read-only".to_owned());
        }
        if self.is_image || (self.user.uid, self.user.gid) != (0, 0) {
            options.extend(["--user".to_owned(), self.user.to_string()]);
        }
        for group in &self.user.groups {
            options.extend(["--group-add".to_owned(), group.to_string()]);
        }
        if self.is_image {
            options.extend(["--hostname".to_owned(), HOST_NAME.to_owned()]);
        }
        if self.workdir != "/" {
            options.extend(["--workdir".to_owned(), self.workdir.clone()]);
        }
        if !self.environment.is_empty() {
            options.extend(["--env-file".to_owned(), environment_file.to_owned()]);
        }
        for folder in &self.folders {
            let host = folder.host.to_str().filter(|it| !it.contains([',', '"', '\n']));
            let (Some(host), false) = (host, folder.guest.contains([',', '"', '\n'])) else {
                return Err(format!(
                    "folder {folder} has a name that does not fit into this runtime's options: \
                     rename it"
                ));
            };
            let mode = if folder.is_read_only { ",ro=true,bind-nonrecursive=true" } else { "" };
            let guest = &folder.guest;
            let mount = format!("type=bind,source={host},destination={guest}{mode}");
            options.extend(["--mount".to_owned(), mount]);
        }
        Ok(options)
    }

    /// Returns the content of the file with the variables, a line each.
    ///
    /// # Errors
    /// The variable that does not fit on a line.
    pub fn environment_lines(&self) -> Result<String, String> {
        let line = |variable: &EnvironmentVariable| {
            let is_plain = !variable.value.contains(['\n', '\r'])
                && !variable.name.starts_with('#')
                && !variable.name.contains(['\n', '\r', ' ', '\t', '*']);
            is_plain.then(|| format!("{variable}\n")).ok_or_else(|| {
                format!(
                    "variable {} of its environment does not fit on a line, which is how this \
                     runtime takes it: use runc, crun or docker",
                    variable.name.escape_debug()
                )
            })
        };
        self.environment.iter().map(line).collect()
    }
}
