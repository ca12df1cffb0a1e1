//! Images that hold the program with the starter beside it, alone or on top of a base
//! image, made without a registry.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bollard::body_full;
use bollard::models::ContainerConfig;
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use bytes::Bytes as Buffer;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

use super::container::remove_container;
use super::container_spec::{BASE_LABEL, HOST_LABEL};
use super::elf::check_static;
use super::engine::{Engine, EngineError, REQUEST_TIMEOUT};
use super::function_call::FunctionCall;
use super::image_check::ask_for_image;
use super::image_files::scratch_body;
use super::responses::InspectedImage;
use super::starter_report::STARTER;
use crate::{Cancel, LaneError, monotonic_now};
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_workload::{Workload, hex};

/// Folder of all files of this program inside an image.
pub(super) const IMAGE_FOLDER: &str = ".cyclometer";

/// Returns the path of the starter in an image.
pub(super) fn starter_path() -> String {
    format!("/{IMAGE_FOLDER}/starter")
}

const MODULE_PLATFORM: &str = "wasi/wasm";

/// Longest time for an import, which writes the program to the engine's disk.
const IMPORT_TIMEOUT: Duration = Duration::from_mins(1);

/// Program that an image is made to run.
#[derive(Debug, Clone)]
pub(super) enum ImagePayload {
    /// A native program.
    Program(Buffer),
    /// Nothing: the function is that of a user's image below.
    Nothing,
    /// A WebAssembly module, for an OCI runtime that runs modules.
    Module(Buffer),
}

impl ImagePayload {
    /// Reads the native program of `workload`, if it can run alone in an image, or in
    /// one with a base.
    pub(crate) fn from_native_program(
        workload: &Workload,
        has_base: bool,
    ) -> Result<Self, LaneError> {
        let unsupported = |reason| LaneError::Unsupported { reason };
        let name = &workload.name;
        let native = workload.native.as_ref().ok_or_else(|| {
            unsupported(format!(
                "workload `{name}` has no native program, which the docker lane needs; name one \
                 with `native` in its workload.toml"
            ))
        })?;
        let bytes = native.read_bytes().map_err(|error| {
            unsupported(format!("the native program of workload `{name}` cannot be read: {error}"))
        })?;
        // A base image may have the loader that the program asks for.
        if !has_base {
            check_static(&bytes).map_err(|cause| {
                unsupported(format!(
                    "the native program of workload `{name}` cannot run in an image of its own: \
                     {cause}; link it with `-static`, or use a base image"
                ))
            })?;
        }
        Ok(Self::Program(Buffer::from_owner(bytes)))
    }

    /// Takes the WebAssembly module of `workload`.
    pub(crate) fn from_wasm_module(workload: &Workload) -> Result<Self, LaneError> {
        let module = workload.wasm.as_ref().ok_or_else(|| LaneError::Unsupported {
            reason: format!(
                "workload `{}` has no WebAssembly module, which this OCI runtime runs; name one \
                 with `wasm` in its workload.toml",
                workload.name
            ),
        })?;
        Ok(Self::Module(Buffer::from_owner(std::sync::Arc::clone(module))))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Program(bytes) | Self::Module(bytes) => bytes,
            Self::Nothing => &[],
        }
    }

    /// Returns its path in the image, relative to the root.
    const fn path_in_image(&self) -> Option<&'static str> {
        match self {
            Self::Program(_) => Some(".cyclometer/function"),
            Self::Module(_) => Some("function.wasm"),
            Self::Nothing => None,
        }
    }

    /// Returns the absolute path of its program in the image; empty if it has none.
    pub(crate) fn program_path(&self) -> String {
        self.path_in_image().map_or_else(String::new, |path| format!("/{path}"))
    }

    /// Returns operating system and architecture, where they are not the engine's.
    const fn platform(&self) -> Option<&'static str> {
        match self {
            Self::Program(_) | Self::Nothing => None,
            Self::Module(_) => Some(MODULE_PLATFORM),
        }
    }
}

/// An image that exists.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// Repository and tag.
    pub reference: String,
    /// Digest of its content.
    pub id: String,
    /// Size of the image; `None` if the engine does not state it.
    pub size: Option<Bytes>,
    /// Volumes: folders that the engine would let each container of the image write to.
    pub volumes: Vec<String>,
    /// Program or command that is run in it.
    pub call: FunctionCall,
    /// Platform that its containers have to request.
    pub platform: Option<&'static str>,
}

impl Image {
    /// Creates an image that the engine has, in which nothing is run yet.
    pub(crate) fn from_inspected(reference: &str, found: InspectedImage) -> Self {
        Self {
            reference: reference.to_owned(),
            id: found.id,
            size: found.size,
            volumes: found.config.volumes,
            call: FunctionCall::default(),
            platform: None,
        }
    }
}

/// Contents and names from which an image is made.
pub(super) struct ImageRecipe<'a> {
    pub workload: &'a str,
    pub payload: &'a ImagePayload,
    pub base: Option<&'a Image>,
    /// Labels of the container that exists only to make the image.
    pub labels: HashMap<String, String>,
    /// Name for that container, which nothing else has.
    pub scratch: &'a str,
}

impl ImageRecipe<'_> {
    /// Returns the repository `cyclometer/<workload>` and the tag that identifies the content.
    fn repository_and_tag(&self) -> (String, String) {
        let mut digest = Sha256::new();
        for part in [self.payload.bytes(), STARTER] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.update(self.base.map_or("", |base| &base.id));
        let repository = format!("cyclometer/{}", sanitise_name(self.workload));
        (repository, hex(&digest.finalize())[..12].to_owned())
    }

    /// Returns the image, and how long it took to make it if it was not there.
    pub(crate) async fn find_or_build(
        &self,
        engine: &Engine,
        cancel: &Cancel,
    ) -> Result<(Image, Option<Nanos>), EngineError> {
        let name = self.repository_and_tag();
        let reference = format!("{}:{}", name.0, name.1);
        if let Some(image) = self.find_built_image(engine, &reference, cancel).await? {
            return Ok((image, None));
        }
        let begun = monotonic_now();
        match self.base {
            None => self.import_archive(engine, &name, cancel).await?,
            Some(base) => self.extend_base(engine, base, &name, cancel).await?,
        }
        let took = Some(monotonic_now().saturating_since(begun));
        let found = self.find_built_image(engine, &reference, cancel).await?;
        let image = found.ok_or_else(|| EngineError::Refused {
            action: "keep the image that it has made",
            status: None,
            message: format!("it does not have {reference}"),
            remedy: "; is its disk full?",
        })?;
        Ok((image, took))
    }

    async fn find_built_image(
        &self,
        engine: &Engine,
        reference: &str,
        cancel: &Cancel,
    ) -> Result<Option<Image>, EngineError> {
        let found = find_image(engine, reference, cancel).await?;
        Ok(found.map(|image| Image { platform: self.payload.platform(), ..image }))
    }

    /// Returns the image's labels as lines of a Dockerfile.
    fn label_lines(&self) -> Vec<String> {
        let base = self.base.map_or("", |base| &base.reference);
        let host = self.labels.get(HOST_LABEL).map_or("", String::as_str);
        // A JSON string is a quoted string there, too.
        [(BASE_LABEL, base), (HOST_LABEL, host)]
            .map(|(name, value)| format!("LABEL {name}={}", serde_json::Value::from(value)))
            .into()
    }

    /// Builds an archive of the files that the image needs. The same program gives
    /// the same archive.
    fn build_archive(&self) -> io::Result<Vec<u8>> {
        let payload = self.payload.bytes();
        let mut builder = tar::Builder::new(Vec::with_capacity(payload.len() + (8 << 10)));
        if !matches!(self.payload, ImagePayload::Module(_)) {
            append_file(&mut builder, ".cyclometer/starter", STARTER)?;
        }
        if let Some(path) = self.payload.path_in_image() {
            append_file(&mut builder, path, payload)?;
        }
        builder.into_inner()
    }

    /// Makes the image from the archive alone.
    async fn import_archive(
        &self,
        engine: &Engine,
        (repository, tag): &(String, String),
        cancel: &Cancel,
    ) -> Result<(), EngineError> {
        let mut options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repository)
            .tag(tag)
            .changes(self.label_lines());
        if let Some(platform) = self.payload.platform() {
            options = options.platform(platform);
        }
        let content = async {
            let body = Some(body_full(self.build_archive()?.into()));
            let answers = engine.docker.create_image(Some(options.build()), body, None);
            answers.try_for_each(async |_| Ok(())).await
        };
        engine.send_request("import the image", IMPORT_TIMEOUT, Some(cancel), content).await
    }

    /// Makes the image from `base`, with one layer on top of it. Neither request
    /// makes an engine look for anything in a registry.
    async fn extend_base(
        &self,
        engine: &Engine,
        base: &Image,
        (repository, tag): &(String, String),
        cancel: &Cancel,
    ) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(self.scratch).build();
        let body = scratch_body(&base.id, self.labels.clone());
        let request = engine.docker.create_container(Some(options), body);
        engine
            .send_request(
                "create a container of the base image",
                IMPORT_TIMEOUT,
                Some(cancel),
                request,
            )
            .await?;
        let result = self.commit_program(engine, repository, tag, cancel).await;
        let removed = remove_container(engine, self.scratch, REQUEST_TIMEOUT, Some(cancel)).await;
        result.and(removed.map(drop))
    }

    /// Copies the program into the scratch container and commits it as an image.
    async fn commit_program(
        &self,
        engine: &Engine,
        repository: &str,
        tag: &str,
        cancel: &Cancel,
    ) -> Result<(), EngineError> {
        let upload = async {
            let options = UploadToContainerOptionsBuilder::new().path("/").build();
            let body = body_full(self.build_archive()?.into());
            engine.docker.upload_to_container(self.scratch, Some(options), body).await
        };
        engine
            .send_request("copy the program into its image", IMPORT_TIMEOUT, Some(cancel), upload)
            .await?;
        let options = CommitContainerOptionsBuilder::new()
            .container(self.scratch)
            .repo(repository)
            .tag(tag)
            .changes(&self.label_lines().join("\n"))
            .build();
        let commit = engine.docker.commit_container(options, ContainerConfig::default());
        engine.send_request("keep the image", IMPORT_TIMEOUT, Some(cancel), commit).await.map(drop)
    }
}

fn append_file(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    builder.append_data(&mut header, name, content)
}

/// Returns a name that Docker accepts: lower-case letters and digits, with single
/// dashes between them.
fn sanitise_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            out.push(character.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    if out.is_empty() { "workload".to_owned() } else { out }
}

/// Finds any image, if the engine has it.
pub(super) async fn find_image(
    engine: &Engine,
    reference: &str,
    cancel: &Cancel,
) -> Result<Option<Image>, EngineError> {
    let found = ask_for_image(engine, reference, cancel).await?;
    Ok(found.map(|found| Image::from_inspected(reference, found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyclometer_workload::NativeProgram;
    use std::io::Read;

    fn recipe<'a>(
        workload: &'a str,
        payload: &'a ImagePayload,
        base: Option<&'a Image>,
    ) -> ImageRecipe<'a> {
        ImageRecipe { workload, payload, base, labels: HashMap::new(), scratch: "x" }
    }

    #[test]
    fn names_are_made_fit_for_docker_and_stand_for_the_content() {
        let payload = ImagePayload::Program(Buffer::from_static(b"program"));
        let name = |name| recipe(name, &payload, None).repository_and_tag().0;
        assert_eq!(name("cat-sync"), "cyclometer/cat-sync");
        assert_eq!(name("My Work__Load!"), "cyclometer/my-work-load");
        assert_eq!(name("--"), "cyclometer/workload");
        assert_eq!(name("größe"), "cyclometer/gr-e");
        let base = |id: &str| Image {
            reference: "debian:12".to_owned(),
            id: id.to_owned(),
            size: None,
            volumes: Vec::new(),
            call: FunctionCall::default(),
            platform: None,
        };
        let tag = |base: Option<&Image>| recipe("a", &payload, base).repository_and_tag().1;
        assert_eq!(tag(None), tag(None));
        assert_ne!(tag(None), tag(Some(&base("sha256:1"))));
        assert_ne!(tag(Some(&base("sha256:2"))), tag(Some(&base("sha256:1"))));
    }

    fn files(recipe: &ImageRecipe<'_>) -> Vec<(String, u32, Vec<u8>)> {
        let bytes = recipe.build_archive().expect("memory");
        assert_eq!(bytes, recipe.build_archive().expect("memory"), "reproducible");
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().expect("readable");
        let read = entries.map(|entry| {
            let mut entry = entry.expect("readable");
            let name = entry.path().expect("a name").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("readable");
            (name, entry.header().mode().expect("a mode"), content)
        });
        read.collect()
    }

    #[test]
    fn an_archive_holds_what_the_runtime_needs() {
        let program = ImagePayload::Program(Buffer::from_static(b"program"));
        let module = ImagePayload::Module(Buffer::from_static(b"module"));
        let starter = (".cyclometer/starter".to_owned(), 0o755, STARTER.to_vec());
        let function = (".cyclometer/function".to_owned(), 0o755, b"program".to_vec());
        assert_eq!(files(&recipe("a", &program, None)), [starter, function]);
        let function = ("function.wasm".to_owned(), 0o755, b"module".to_vec());
        assert_eq!(files(&recipe("a", &module, None)), [function]);
    }

    #[test]
    fn what_cannot_run_alone_is_refused_with_the_remedy() {
        let mut workload = Workload::without_forms("w");
        let reason = |workload: &Workload| {
            ImagePayload::from_native_program(workload, false).expect_err("refused").to_string()
        };
        assert!(reason(&workload).contains("no native program"));
        assert!(
            ImagePayload::from_wasm_module(&workload)
                .expect_err("none")
                .to_string()
                .contains("`wasm`")
        );
        workload.native = Some(NativeProgram::Embedded(b"#!/bin/sh"));
        assert!(reason(&workload).contains("-static"));
        assert!(
            ImagePayload::from_native_program(&workload, true).is_ok(),
            "a base image may have a shell"
        );
        // A sparse file, larger than any program that is read.
        let large = tempfile::NamedTempFile::new().expect("a file");
        large.as_file().set_len(257 << 20).expect("grown");
        workload.native = Some(NativeProgram::from_path(large.path()).expect("there"));
        assert!(reason(&workload).contains("larger than 256 MiB"), "{}", reason(&workload));
    }
}
