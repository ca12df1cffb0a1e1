//! Call of a function in a container: the command line, its user, folder and environment, of
//! this program's own images and of a user's image.

use std::path::Path;

use super::container_spec::NOBODY;
use super::image::IMAGE_FOLDER;
use super::responses::sanitize_engine_text;
use super::starter_report::TOKEN_VARIABLE;
use crate::image_config::{ImageConfig, ImageRefusal};
use crate::image_user::{AccountFiles, FunctionUser};
use crate::{Job, LaneError, StartKind};
use cyclometer_workload::EnvironmentVariable;

/// Command that is run in a container, and its user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FunctionCall {
    /// Program and arguments.
    pub command: Vec<String>,
    /// User and groups by number.
    pub user: FunctionUser,
    /// User in the form that an engine takes, where nothing of ours starts the function.
    pub user_text: String,
    /// Folder in which it starts.
    pub workdir: String,
    /// Variables beside those of its image, as `NAME=VALUE`.
    pub environment: Vec<String>,
    /// The user's image; `None`: an image of this program.
    pub own: Option<OwnImage>,
}

/// A user's image, for messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct OwnImage {
    /// Name, fit to be shown.
    pub reference: String,
    /// Digest of its content.
    pub id: String,
    /// Search path of its programs.
    pub search_path: String,
    /// Ports that a server in it listens to.
    pub exposed: Vec<String>,
    /// Folders that its author wants a disk for.
    pub volumes: Vec<String>,
}

impl FunctionCall {
    /// Returns the call of this program's own image, whose program is at that path.
    pub(crate) fn for_program(
        program: &str,
        job: &Job,
        accounts: &AccountFiles,
    ) -> Result<Self, ImageRefusal> {
        let args = job.preset.args.iter().cloned();
        let nobody = FunctionUser { uid: NOBODY, gid: NOBODY, ..FunctionUser::default() };
        let user = match &job.rules.user {
            Some(text) => accounts.resolve_user("of this program", text)?,
            None => nobody,
        };
        Ok(Self {
            command: std::iter::once(program.to_owned()).chain(args).collect(),
            user_text: job.rules.user.clone().unwrap_or_else(|| user.to_string()),
            user,
            workdir: job.preset.workdir.clone().unwrap_or_else(|| "/".to_owned()),
            environment: job.preset.env.iter().map(ToString::to_string).collect(),
            own: None,
        })
    }

    /// Returns the call of a user's image.
    pub(crate) fn for_image(
        (id, config): (&str, &ImageConfig),
        job: &Job,
        accounts: &AccountFiles,
    ) -> Result<Self, ImageRefusal> {
        let user_text = job.rules.user.as_deref().unwrap_or(&config.user);
        let user = accounts.resolve_user(&config.reference, user_text)?;
        let all = config.environment_with(&job.preset.env);
        let find = |name: &str| all.iter().find(|it| it.name == name);
        // An OCI runtime would add that of the starter's user.
        let home = find("HOME").is_none().then(|| EnvironmentVariable {
            name: "HOME".to_owned(),
            value: user.home.clone().unwrap_or_else(|| "/".to_owned()),
        });
        let variables = home.iter().chain(&job.preset.env);
        Ok(Self {
            command: config.command_line(&job.preset.args)?,
            user_text: user_text.to_owned(),
            user,
            workdir: job.preset.workdir.clone().unwrap_or_else(|| config.workdir.clone()),
            environment: variables.map(ToString::to_string).collect(),
            own: Some(OwnImage {
                reference: config.reference.clone(),
                id: id.to_owned(),
                search_path: find("PATH").map_or_else(String::new, |it| it.value.clone()),
                exposed: config.exposed.clone(),
                volumes: config.volumes.clone(),
            }),
        })
    }

    /// Returns what the recording keeps of it; empty for an image of this program by its usual
    /// rules.
    pub(crate) fn list_notes(&self, job: &Job) -> Vec<String> {
        let own = self.own.as_ref().map(|own| {
            format!(
                "image {} ({}) runs {} as user {} in {}",
                own.reference,
                sanitize_engine_text(&own.id),
                sanitize_engine_text(&quote_words(&self.command)),
                self.user,
                sanitize_engine_text(&self.workdir),
            )
        });
        let root = self.user.is_root().then(|| {
            "it is root inside its container, without capabilities: it can do less than root \
             elsewhere"
                .to_owned()
        });
        let volumes = self.own.as_ref().filter(|own| !own.volumes.is_empty()).map(|own| {
            let folders = sanitize_engine_text(&own.volumes.join(", "));
            if job.rules.writable {
                format!(
                    "its volumes ({folders}) are on the engine's disk, until its container ends"
                )
            } else {
                format!(
                    "its volumes ({folders}) are empty folders that cannot be written; with \
                     `--writable` they are as the engine has them"
                )
            }
        });
        let loosened = job.rules.describe_loosened();
        let loosened = loosened.map(|rules| format!("rules loosened: {rules}"));
        let writable = job.rules.writable.then(|| writable_note(job).to_owned());
        let notes = [own, root, volumes, loosened, writable].into_iter().flatten();
        notes.chain(list_hidden_mounts(job)).collect()
    }

    /// Returns a remark about a failure whose cause its standard error tells.
    pub(crate) fn remark_on_failure(job: &Job, stderr: &str) -> Option<&'static str> {
        let text = stderr.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["read-only file system", "erofs"]) {
            match (job.rules.writable, job.preset.dirs.iter().any(|folder| folder.is_read_only)) {
                (false, false) => {
                    return Some("its root is read-only: `--writable` allows writing");
                }
                (false, true) => {
                    return Some(
                        "its root is read-only, and folders with `:ro`: `--writable` allows \
                         writing to the root, a folder without `:ro` to that",
                    );
                }
                (true, true) => {
                    return Some(
                        "folders with `:ro` are read-only: leave `:ro` out to write there",
                    );
                }
                (true, false) => {}
            }
        }
        if says(&["resource temporarily unavailable", "unable to create native thread"]) {
            return Some("it may have reached the limit of processes and threads of its container");
        }
        let unreachable = [
            "network is unreachable",
            "enetunreach",
            "eai_again",
            "temporary failure in name resolution",
            "could not resolve host",
        ];
        let has_none = !job.rules.network && says(&unreachable);
        has_none.then_some("it has no network: `--network` gives it one")
    }

    /// Returns a remark about a function that did not end within its time.
    pub(crate) fn remark_on_timeout(&self) -> Option<String> {
        let ports = &self.own.as_ref()?.exposed;
        (!ports.is_empty()).then(|| {
            let ports = sanitize_engine_text(&ports.join(", "));
            format!("its image exposes {ports}: a server does not end by itself")
        })
    }
}

/// Returns a remark about a failure in a container without an engine.
pub(crate) fn remark_on_failure(job: &Job, stderr: &str) -> Option<&'static str> {
    FunctionCall::remark_on_failure(job, stderr)
}

fn writable_note(job: &Job) -> &'static str {
    if job.start == StartKind::Warm {
        "what an invocation writes, later ones in the same warm container find; it goes to the \
         engine's disk"
    } else {
        "what an invocation writes goes to the engine's disk, and is gone with its container"
    }
}

/// Refuses a warm function that could replace the files of this program in its container.
pub(super) fn check_integrity(job: &Job, call: &FunctionCall) -> Result<(), LaneError> {
    let can_replace = job.rules.writable && call.user.is_root();
    if can_replace && job.start == StartKind::Warm {
        let reason = "a warm function that is root and may write to its root could replace what \
                      measures it: leave out warm starts or --writable, or name another --user";
        return Err(LaneError::Unsupported { reason: reason.to_owned() });
    }
    Ok(())
}

/// Refuses what a container cannot be given.
pub(super) fn check_settings(job: &Job) -> Result<(), LaneError> {
    let unsupported = |reason: String| Err(LaneError::Unsupported { reason });
    let preset = &job.preset;
    if let Some(export) = &preset.invoke {
        return unsupported(format!(
            "containers run programs, and do not call an export such as `{}`: leave the docker \
             lane out, or --invoke",
            sanitize_engine_text(export)
        ));
    }
    if preset.env.iter().any(|variable| variable.name == TOKEN_VARIABLE) {
        return unsupported(format!(
            "functions in containers cannot have a variable {TOKEN_VARIABLE}, which is this \
             program's own: use another name"
        ));
    }
    let inside = |path: &str| path.trim_start_matches('/').split('/').next() == Some(IMAGE_FOLDER);
    if let Some(folder) = preset.dirs.iter().find(|it| it.guest == "/" || inside(&it.guest)) {
        return unsupported(format!(
            "containers cannot have a folder of this machine at {}: give it another place, as in \
             --dir HOST:/data",
            folder.guest
        ));
    }
    Ok(())
}

/// Lists what containers do not find of the folders that they may only read.
pub(crate) fn list_hidden_mounts(job: &Job) -> Vec<String> {
    let folders: Vec<_> = job.preset.dirs.iter().filter(|folder| folder.is_read_only).collect();
    if folders.is_empty() {
        return Vec::new();
    }
    let mounts = match cyclometer_system::files::read_kernel_text("/proc/self/mountinfo") {
        Ok(mounts) => mounts,
        Err(error) => {
            return vec![format!("mounts below its read-only folders are not known: {error}")];
        }
    };
    let hidden = folders.into_iter().filter_map(|folder| {
        let below = find_mount_below(&mounts, &folder.host)?;
        Some(format!(
            "{} has another file system mounted below it, at {}, which is not in the container: \
             not every engine keeps that from being written",
            folder.host.display(),
            sanitize_engine_text(&below)
        ))
    });
    hidden.collect()
}

/// Finds a mount below a folder, in the text of `/proc/self/mountinfo`.
fn find_mount_below(mounts: &str, folder: &Path) -> Option<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    // The kernel writes some characters as octal numbers.
    let mut plain = points.map(|point| {
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(point.to_owned(), |text, (code, character)| text.replace(code, character))
    });
    plain.find(|point| Path::new(point).starts_with(folder) && Path::new(point) != folder)
}

/// Joins words to a line, with quotes where a shell would need them.
pub(crate) fn quote_words(words: &[String]) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(is_plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program_run::tests::job;
    use cyclometer_workload::{Preset, SharedFolder};
    use std::sync::Arc;

    fn job_with(change: impl FnOnce(&mut Preset)) -> Job {
        let mut preset = Preset::with_defaults("test");
        change(&mut preset);
        Job { preset: Arc::new(preset), ..job() }
    }

    fn variable(name: &str, value: &str) -> EnvironmentVariable {
        EnvironmentVariable { name: name.to_owned(), value: value.to_owned() }
    }

    fn config() -> ImageConfig {
        ImageConfig {
            reference: "me/fn".to_owned(),
            entrypoint: vec!["run it".to_owned()],
            command: vec!["-v".to_owned()],
            environment: vec![variable("PATH", "/bin"), variable("A", "1")],
            user: "app".to_owned(),
            workdir: "/srv".to_owned(),
            exposed: vec!["80/tcp".to_owned()],
            volumes: vec!["/data".to_owned()],
            ..ImageConfig::default()
        }
    }

    fn accounts() -> AccountFiles {
        let passwd = "app:x:5:6::/srv/app:\n".to_owned();
        AccountFiles { passwd, group: String::new() }
    }

    fn call(job: &Job) -> FunctionCall {
        FunctionCall::for_image(("sha256:0a", &config()), job, &accounts()).expect("a call")
    }

    #[test]
    fn an_image_runs_as_its_author_wants_it_unless_the_preset_says_otherwise() {
        let usual = call(&job_with(|_| ()));
        assert_eq!((usual.command.join("|"), usual.workdir.as_str()), ("run it|-v".into(), "/srv"));
        assert_eq!((usual.user.uid, usual.user.gid), (5, 6));
        assert_eq!(usual.environment, ["HOME=/srv/app"]);
        assert_eq!(usual.own.as_ref().map(|own| own.search_path.as_str()), Some("/bin"));
        let mut other = job_with(|preset| {
            preset.args = vec!["x".to_owned()];
            preset.env = vec![variable("HOME", "/h"), variable("PATH", "/opt")];
            preset.workdir = Some("/w".to_owned());
        });
        other.rules.user = Some("7:8".to_owned());
        let changed = call(&other);
        assert_eq!(
            (changed.command.join("|"), changed.workdir.as_str()),
            ("run it|x".into(), "/w")
        );
        assert_eq!(changed.user.to_string(), "7:8");
        assert_eq!(changed.environment, ["HOME=/h", "PATH=/opt"]);
        assert_eq!(changed.own.map(|own| own.search_path), Some("/opt".to_owned()));
    }

    #[test]
    fn notes_say_what_is_run_and_which_rules_do_not_hold() {
        let notes = call(&job_with(|_| ())).list_notes(&job_with(|_| ())).join("\n");
        assert!(
            notes.starts_with("image me/fn (sha256:0a) runs 'run it' -v as user 5:6 in /srv\n"),
            "{notes}"
        );
        assert!(notes.contains("its volumes (/data) are empty folders"), "{notes}");
        assert!(!notes.contains("loosened") && !notes.contains("root inside"), "{notes}");
        let mut loose = job_with(|_| ());
        loose.rules.user = Some("0".to_owned());
        loose.rules.writable = true;
        loose.start = StartKind::Warm;
        let notes = call(&loose).list_notes(&loose).join("\n");
        for part in [
            "root inside its container, without capabilities",
            "rules loosened: writable root, user 0",
            "later ones in the same warm container find",
            "its volumes (/data) are on the engine's disk",
        ] {
            assert!(notes.contains(part), "{part}: {notes}");
        }
        let program = FunctionCall::for_program("/p", &job_with(|_| ()), &AccountFiles::default());
        let program = program.expect("a call");
        assert_eq!(program.list_notes(&job_with(|_| ())), Vec::<String>::new());
        assert_eq!(program.user.to_string(), "65534:65534");
    }

    #[test]
    fn causes_are_named_where_standard_error_tells_them() {
        let strict = job_with(|_| ());
        let mut loose = strict.clone();
        (loose.rules.writable, loose.rules.network) = (true, true);
        for (text, part) in [
            ("touch: /x: Read-only file system", "--writable"),
            ("Error: EROFS: read-only file system, open '/x'", "--writable"),
            ("sh: can't fork: Resource temporarily unavailable", "limit of processes"),
            ("wget: Network is unreachable", "--network"),
            ("Temporary failure in name resolution", "--network"),
        ] {
            let remark = FunctionCall::remark_on_failure(&strict, text);
            assert!(remark.is_some_and(|remark| remark.contains(part)), "{text}");
            let loosened = FunctionCall::remark_on_failure(&loose, text);
            assert_eq!(loosened.is_some(), part.starts_with("limit"), "{text}");
        }
        assert_eq!(FunctionCall::remark_on_failure(&strict, "no luck"), None);
        let remark = call(&strict).remark_on_timeout();
        assert!(remark.is_some_and(|remark| remark.contains("80/tcp: a server")));
    }

    #[test]
    fn mounts_below_a_folder_are_found() {
        let text = "22 1 8:1 / / rw - ext4 /dev/a rw\n23 22 0:5 / /dev/shm rw - tmpfs t rw\n\
                    24 22 0:6 / /mnt/my\\040disk rw - ext4 /dev/b rw\n";
        let below = |folder: &str| find_mount_below(text, Path::new(folder));
        assert_eq!(below("/dev"), Some("/dev/shm".to_owned()));
        assert_eq!(below("/mnt"), Some("/mnt/my disk".to_owned()));
        assert_eq!((below("/dev/shm"), below("/dev/sh"), below("/home")), (None, None, None));
        assert!(below("/").is_some());
    }

    #[test]
    fn what_a_container_cannot_be_given_is_refused() {
        let refused = |change: &dyn Fn(&mut Preset)| {
            check_settings(&job_with(change)).map_err(|error| error.to_string())
        };
        let dir = |guest: &str| SharedFolder {
            host: "/etc".into(),
            guest: guest.to_owned(),
            is_read_only: false,
        };
        assert_eq!(refused(&|preset| preset.dirs = vec![dir("/data"), dir("/.cyc")]), Ok(()));
        for bad in ["/", "/.cyclometer", "/.cyclometer/x"] {
            assert!(refused(&|preset| preset.dirs = vec![dir(bad)]).is_err(), "{bad}");
        }
        let told = refused(&|preset| preset.invoke = Some("add".to_owned()));
        assert!(told.is_err_and(|text| text.contains("`add`")));
        let told = refused(&|preset| preset.env = vec![variable("CYCLOMETER_TOKEN", "1")]);
        assert!(told.is_err_and(|text| text.contains("another name")));
    }
}
