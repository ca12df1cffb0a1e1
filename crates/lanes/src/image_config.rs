//! Configuration of a container image: what its author wants to be run in it, and how.
//!
//! It comes from an engine or from whoever made the image, neither of which is trusted: lists and
//! texts have limits, and what is shown of them has no control characters.

use serde::Deserialize;
use thiserror::Error;

use crate::docker::responses::{InvalidResponse, StringSet, parse_json, sanitize_engine_text};
use cyclometer_workload::EnvironmentVariable;

/// Search path of images that set none, as engines have it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Most bytes of one argument or variable, with the NUL at its end: `MAX_ARG_STRLEN` of Linux.
const MOST_ARGUMENT: usize = 128 << 10;
/// Most bytes of all arguments and variables together. Linux allows 2 MiB with the usual limit of
/// a stack; the rest is for engines, OCI runtimes and this program's starter.
const MOST_ARGUMENTS: usize = (2 << 20) - (64 << 10);
/// Most bytes of the path of a folder: `PATH_MAX` of Linux.
const MOST_PATH: usize = 4096;
/// Most bytes of the name of a user, with its group.
const MOST_USER: usize = 256;

/// Configuration of an image, as far as it matters for running it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// Name by which the image was looked up, fit to be shown.
    pub reference: String,
    /// Beginning of the command line; empty: none.
    pub entrypoint: Vec<String>,
    /// Rest of the command line, which arguments replace; empty: none.
    pub command: Vec<String>,
    /// Environment, with each name once.
    pub environment: Vec<EnvironmentVariable>,
    /// User, as `USER[:GROUP]`, by names or numbers; empty: root.
    pub user: String,
    /// Absolute path of the folder in which it starts.
    pub workdir: String,
    /// Architecture by its name among images, such as `amd64`; empty: not stated.
    pub architecture: String,
    /// Operating system; empty: not stated.
    pub os: String,
    /// Absolute paths of volumes: folders that every container is to have a disk for.
    pub volumes: Vec<String>,
    /// Ports that a server in it listens to, such as `80/tcp`.
    pub exposed: Vec<String>,
}

/// Reason why an image cannot be run as a function.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageRefusal {
    /// It says nothing about what to run.
    #[error("image {0} names no entrypoint and no command: say what to run after `--`")]
    NoCommand(String),
    /// It is for another machine.
    #[error(
        "image {image} is for {platform}, this machine is {machine}: pull or build it for \
         linux/{machine}"
    )]
    OtherMachine {
        /// Name of the image.
        image: String,
        /// Architecture and operating system of the image.
        platform: String,
        /// Architecture of this machine.
        machine: &'static str,
    },
    /// The command line or the environment is one that no program can be started with.
    #[error("image {image} cannot be run: {reason}")]
    Impossible {
        /// Name of the image.
        image: String,
        /// Reason, and what to do.
        reason: String,
    },
}

/// Returns this machine's architecture by its name among images.
#[must_use]
pub const fn machine_architecture() -> &'static str {
    match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => "amd64",
        b"aarch64" => "arm64",
        b"x86" => "386",
        b"loongarch64" => "loong64",
        b"powerpc64" => "ppc64le",
        _ => std::env::consts::ARCH,
    }
}

impl ImageConfig {
    /// Parses an engine's answer about an image, or the configuration of an OCI image.
    ///
    /// # Errors
    /// When the bytes are neither.
    pub(crate) fn parse(reference: &str, bytes: &[u8]) -> Result<Self, InvalidResponse> {
        #[derive(Deserialize)]
        struct ImageResponse {
            #[serde(rename = "Architecture", alias = "architecture")]
            architecture: Option<String>,
            #[serde(rename = "Os", alias = "os")]
            os: Option<String>,
            #[serde(rename = "Config", alias = "config")]
            config: Option<ConfigResponse>,
        }
        let answer: ImageResponse = parse_json(bytes)?;
        let config = answer.config.unwrap_or_default();
        let parsed = Self {
            reference: sanitize_engine_text(reference),
            entrypoint: config.entrypoint.unwrap_or_default(),
            command: config.cmd.unwrap_or_default(),
            environment: parse_environment(config.env.unwrap_or_default()),
            user: config.user.unwrap_or_default(),
            workdir: to_absolute(config.working_dir.as_deref().unwrap_or_default()),
            architecture: sanitize_engine_text(&answer.architecture.unwrap_or_default()),
            os: sanitize_engine_text(&answer.os.unwrap_or_default()),
            volumes: config.volumes.0,
            exposed: config.exposed_ports.0.iter().map(|it| sanitize_engine_text(it)).collect(),
        };
        parsed.check_texts().map_err(InvalidResponse::from_reason)?;
        Ok(parsed)
    }

    /// Refuses texts that nothing can be done with.
    fn check_texts(&self) -> Result<(), String> {
        let words = self.entrypoint.iter().chain(&self.command);
        let variables = self.environment.iter().flat_map(|it| [&it.name, &it.value]);
        let paths = [&self.user, &self.workdir].into_iter().chain(&self.volumes);
        if words.chain(variables).chain(paths).any(|text| text.contains('\0')) {
            return Err("a text in its configuration has a NUL character".to_owned());
        }
        if self.user.len() > MOST_USER {
            return Err(format!("its user has more than {MOST_USER} bytes"));
        }
        if self.volumes.iter().chain([&self.workdir]).any(|path| path.len() >= MOST_PATH) {
            return Err(format!("the path of a folder has {MOST_PATH} bytes or more"));
        }
        Ok(())
    }

    /// Returns the command line: the entrypoint, followed by the arguments or, without any, by the
    /// image's own command.
    ///
    /// # Errors
    /// [`ImageRefusal`] when there is none, or no program can be started with it.
    pub fn command_line(&self, args: &[String]) -> Result<Vec<String>, ImageRefusal> {
        let rest = if args.is_empty() { &self.command } else { args };
        let line: Vec<String> = self.entrypoint.iter().chain(rest).cloned().collect();
        match line.first() {
            None => return Err(ImageRefusal::NoCommand(self.reference.clone())),
            Some(program) if program.is_empty() => {
                return Err(self.refuse("the name of its program is empty".to_owned()));
            }
            Some(_) => {}
        }
        let variables = self.environment.iter().map(|it| it.name.len() + 1 + it.value.len());
        let sizes = line.iter().map(String::len).chain(variables).map(|size| size + 1);
        if sizes.clone().any(|size| size > MOST_ARGUMENT) {
            let reason = "an argument or a variable of its environment has 128 KiB or more, which \
                          Linux does not pass on: use a file or standard input";
            return Err(self.refuse(reason.to_owned()));
        }
        // With the pointer to each, as Linux counts them.
        if sizes.map(|size| size + 8).sum::<usize>() > MOST_ARGUMENTS {
            let reason = "its arguments and its environment have more than 1.9 MiB, which Linux \
                          does not pass on: use a file or standard input";
            return Err(self.refuse(reason.to_owned()));
        }
        Ok(line)
    }

    /// Returns the image's environment with these variables, the later of each name. There is
    /// always a search path.
    #[must_use]
    pub fn environment_with(&self, more: &[EnvironmentVariable]) -> Vec<EnvironmentVariable> {
        let path = EnvironmentVariable { name: "PATH".to_owned(), value: DEFAULT_PATH.to_owned() };
        keep_latest([path].iter().chain(&self.environment).chain(more).cloned())
    }

    /// Refuses an image for another architecture or operating system than this machine's.
    ///
    /// # Errors
    /// [`ImageRefusal::OtherMachine`].
    pub fn check_machine(&self) -> Result<(), ImageRefusal> {
        let machine = machine_architecture();
        let is_one_of = |text: &str, names: &[&str]| text.is_empty() || names.contains(&text);
        // 64-bit x86 runs 32-bit programs, too.
        let runs: &[&str] = if machine == "amd64" { &["amd64", "386"] } else { &[machine] };
        if is_one_of(&self.architecture, runs) && is_one_of(&self.os, &["linux"]) {
            return Ok(());
        }
        let or_unknown = |text: &str| if text.is_empty() { "any" } else { text }.to_owned();
        let platform = format!("{}/{}", or_unknown(&self.architecture), or_unknown(&self.os));
        Err(ImageRefusal::OtherMachine { image: self.reference.clone(), platform, machine })
    }

    fn refuse(&self, reason: String) -> ImageRefusal {
        ImageRefusal::Impossible { image: self.reference.clone(), reason }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct ConfigResponse {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    #[serde(default)]
    volumes: StringSet,
    #[serde(default)]
    exposed_ports: StringSet,
}

/// Parses lines of the form `NAME=VALUE`. Engines take a name without `=` for a variable that is
/// not there, and so does this.
fn parse_environment(lines: Vec<String>) -> Vec<EnvironmentVariable> {
    let variables = lines.into_iter().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        let is_named = !name.is_empty();
        is_named.then(|| EnvironmentVariable { name: name.to_owned(), value: value.to_owned() })
    });
    keep_latest(variables)
}

/// Keeps the latest variable of each name, where the first of that name was.
fn keep_latest(
    variables: impl IntoIterator<Item = EnvironmentVariable>,
) -> Vec<EnvironmentVariable> {
    let mut places = std::collections::HashMap::new();
    let mut kept: Vec<EnvironmentVariable> = Vec::new();
    for variable in variables {
        let place = *places.entry(variable.name.clone()).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => *earlier = variable,
            None => kept.push(variable),
        }
    }
    kept
}

/// Returns a folder of an image as an absolute path; none is the root.
fn to_absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortened from `docker image inspect` of an engine 20.10.
    const ANSWER: &str = r#"{"Id":"sha256:0a1b","Architecture":"amd64","Os":"linux","Size":5,
        "ContainerConfig":{"Cmd":["x"]},"Config":{"User":"app:app","Env":["PATH=/bin","A=1","A=2=3","B","=x"],
        "Cmd":["--port","80"],"Entrypoint":["/srv/run","-v"],"WorkingDir":"/srv",
        "Volumes":{"/data":{},"/cache":{}},"ExposedPorts":{"80/tcp":{}}}}"#;

    fn parse(answer: &str) -> ImageConfig {
        ImageConfig::parse("me/fn", answer.as_bytes()).expect("an image")
    }

    fn words(line: &[&str]) -> Vec<String> {
        line.iter().map(|&word| word.to_owned()).collect()
    }

    fn shown(variables: &[EnvironmentVariable]) -> Vec<String> {
        variables.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_engines_answer_is_read() {
        let config = parse(ANSWER);
        assert_eq!((config.user.as_str(), config.workdir.as_str()), ("app:app", "/srv"));
        assert_eq!(shown(&config.environment), ["PATH=/bin", "A=2=3"]);
        assert_eq!(config.volumes, ["/cache", "/data"]);
        assert_eq!(config.exposed, ["80/tcp"]);
        assert_eq!(config.command_line(&[]), Ok(words(&["/srv/run", "-v", "--port", "80"])));
        assert_eq!(config.command_line(&words(&["x"])), Ok(words(&["/srv/run", "-v", "x"])));
        // The configuration of an OCI image has the same fields, some in small letters.
        let oci = r#"{"architecture":"arm64","os":"linux","config":{"Cmd":["sh"],"Env":null}}"#;
        let config = parse(oci);
        assert_eq!((config.architecture.as_str(), config.workdir.as_str()), ("arm64", "/"));
        assert_eq!(config.command_line(&[]), Ok(words(&["sh"])));
    }

    #[test]
    fn an_image_that_names_nothing_to_run_says_so() {
        let empty = parse(r#"{"Config":{"Cmd":null,"Entrypoint":[],"Volumes":null}}"#);
        let refused = empty.command_line(&[]).expect_err("nothing to run").to_string();
        let told = "image me/fn names no entrypoint and no command: say what to run after `--`";
        assert_eq!(refused, told);
        assert_eq!(empty.command_line(&words(&["ls"])), Ok(words(&["ls"])));
        assert_eq!(parse("{}").command_line(&[]).expect_err("nothing").to_string(), told);
        assert!(empty.command_line(&words(&[""])).is_err());
    }

    #[test]
    fn arguments_beyond_what_linux_passes_on_are_refused() {
        let config = parse(ANSWER);
        let line = |size: usize, count: usize| config.command_line(&vec!["x".repeat(size); count]);
        assert!(line((128 << 10) - 1, 1).is_ok());
        assert!(line(128 << 10, 1).expect_err("too long").to_string().contains("128 KiB"));
        assert!(line(100 << 10, 19).is_ok());
        assert!(line(100 << 10, 20).expect_err("too many").to_string().contains("1.9 MiB"));
    }

    #[test]
    fn images_for_other_machines_are_refused() {
        let machine = machine_architecture();
        let check = |architecture: &str, os: &str| {
            let config = ImageConfig {
                reference: "me/fn".to_owned(),
                architecture: architecture.to_owned(),
                os: os.to_owned(),
                ..ImageConfig::default()
            };
            config.check_machine().map_err(|refusal| refusal.to_string())
        };
        assert_eq!(check(machine, "linux"), Ok(()));
        assert_eq!(check("", ""), Ok(()), "old engines do not state it");
        let other = if machine == "arm64" { "s390x" } else { "arm64" };
        let told = format!(
            "image me/fn is for {other}/linux, this machine is {machine}: pull or build it for \
             linux/{machine}"
        );
        assert_eq!(check(other, "linux"), Err(told));
        assert!(check(machine, "windows").is_err_and(|text| text.contains("/windows")));
    }

    #[test]
    fn later_variables_win_and_there_is_always_a_search_path() {
        let variable = |name: &str, value: &str| EnvironmentVariable {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let more = [variable("A", "9"), variable("C", "")];
        let all = parse(ANSWER).environment_with(&more);
        assert_eq!(shown(&all), ["PATH=/bin", "A=9", "C="]);
        let all = ImageConfig::default().environment_with(&more);
        assert_eq!(shown(&all), [&format!("PATH={DEFAULT_PATH}"), "A=9", "C="]);
    }

    #[test]
    fn texts_that_nothing_can_be_done_with_are_refused() {
        let refused = |config: &str| {
            let answer = format!("{{\"Config\":{config}}}");
            ImageConfig::parse("me/fn", answer.as_bytes()).expect_err("refused").to_string()
        };
        for nul in [
            r#"{"Cmd":["a\u0000b"]}"#,
            r#"{"Entrypoint":["\u0000"]}"#,
            r#"{"Env":["A=\u0000"]}"#,
            r#"{"User":"\u0000"}"#,
            r#"{"WorkingDir":"/\u0000"}"#,
            r#"{"Volumes":{"/\u0000":{}}}"#,
        ] {
            assert!(refused(nul).contains("NUL"), "{nul}");
        }
        assert!(refused(&format!("{{\"User\":\"{}\"}}", "u".repeat(257))).contains("user"));
        assert!(refused(&format!("{{\"WorkingDir\":\"{}\"}}", "w".repeat(4096))).contains("4096"));
        assert!(refused("[]").len() < 1000);
        let shown = ImageConfig::parse("a\u{1b}[2Jb", b"{}").expect("an image").reference;
        assert_eq!(shown, "a\\x1b[2Jb");
    }
}
