//! Small files of an image, read through a container that is never started.

use std::collections::HashMap;
use std::io::Read;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::container::remove_container;
use super::engine::{Engine, EngineError, REQUEST_TIMEOUT};
use super::image::starter_path;
use super::transport::percent_encode;
use crate::Cancel;
use crate::image_user::AccountFiles;

/// Most bytes of a file that is read.
const MOST_CONTENT: u64 = 1 << 20;
/// Most links that are followed.
const MOST_LINKS: usize = 8;
const ACTION: &str = "read the users of the image";

/// Reads `/etc/passwd` and `/etc/group` of an image. `scratch` is the name of the container that
/// is made for it, which nothing else has.
pub(super) async fn read_account_files(
    engine: &Engine,
    image: &str,
    labels: HashMap<String, String>,
    scratch: &str,
    cancel: &Cancel,
) -> Result<AccountFiles, EngineError> {
    let options = CreateContainerOptionsBuilder::new().name(scratch).build();
    let request = engine.docker.create_container(Some(options), scratch_body(image, labels));
    engine.send_request(ACTION, REQUEST_TIMEOUT, Some(cancel), request).await?;
    let read = async {
        Ok(AccountFiles {
            passwd: read_text(engine, scratch, "/etc/passwd", cancel).await?,
            group: read_text(engine, scratch, "/etc/group", cancel).await?,
        })
    };
    let files = read.await;
    let removed = remove_container(engine, scratch, REQUEST_TIMEOUT, Some(cancel)).await;
    removed.and(files)
}

/// Returns a container that is never started: its command need not be there.
pub(super) fn scratch_body(image: &str, labels: HashMap<String, String>) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![starter_path()]),
        labels: Some(labels),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// Content of an entry of an archive.
enum Entry {
    Text(String),
    Link(String),
}

/// Reads a text file of a container, through links; empty if there is none.
async fn read_text(
    engine: &Engine,
    container: &str,
    path: &str,
    cancel: &Cancel,
) -> Result<String, EngineError> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let request = format!("/containers/{container}/archive?path={}", percent_encode(&path));
        let asked = engine.transport.get_body(&request);
        let archive = match engine.send_request(ACTION, REQUEST_TIMEOUT, Some(cancel), asked).await
        {
            Ok(archive) => archive,
            Err(error) if error.is_missing() => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        match read_first_entry(&archive) {
            Ok(Entry::Text(text)) => return Ok(text),
            Ok(Entry::Link(target)) => path = resolve_link(&path, &target),
            Err(reason) => return Err(unreadable(&path, reason)),
        }
    }
    Err(unreadable(&path, "there are too many links to it"))
}

fn unreadable(path: &str, reason: &str) -> EngineError {
    let path = super::responses::sanitize_engine_text(path);
    EngineError::Refused {
        action: ACTION,
        status: None,
        message: format!("{path} is none that can be read: {reason}"),
        remedy: "",
    }
}

/// Reads the first entry of an archive.
fn read_first_entry(archive: &[u8]) -> Result<Entry, &'static str> {
    const DAMAGED: &str = "its archive is damaged";
    let mut archive = tar::Archive::new(archive);
    let entry = archive.entries().map_err(|_| DAMAGED)?.next().ok_or(DAMAGED)?;
    let entry = entry.map_err(|_| DAMAGED)?;
    let kind = entry.header().entry_type();
    if kind.is_symlink() || kind.is_hard_link() {
        let target = entry.link_name().map_err(|_| DAMAGED)?.ok_or(DAMAGED)?;
        return target.to_str().map(|it| Entry::Link(it.to_owned())).ok_or(DAMAGED);
    }
    if !kind.is_file() {
        return Err("it is no regular file");
    }
    let mut content = Vec::new();
    entry.take(MOST_CONTENT + 1).read_to_end(&mut content).map_err(|_| DAMAGED)?;
    if content.len() as u64 > MOST_CONTENT {
        return Err("it is larger than 1 MiB");
    }
    Ok(Entry::Text(String::from_utf8_lossy(&content).into_owned()))
}

/// Returns the path that a link at `path` leads to.
fn resolve_link(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(kind: tar::EntryType, size: u64, content: &[u8], link: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_path("passwd").expect("short");
        if !link.is_empty() {
            header.set_link_name(link).expect("short");
        }
        header.set_cksum();
        builder.append(&header, content).expect("memory");
        builder.into_inner().expect("memory")
    }

    #[test]
    fn files_and_links_are_read_and_nothing_else() {
        use tar::EntryType;
        let text = archive(EntryType::Regular, 3, b"abc", "");
        assert!(matches!(read_first_entry(&text), Ok(Entry::Text(text)) if text == "abc"));
        let link = archive(EntryType::Symlink, 0, b"", "../x");
        assert!(matches!(read_first_entry(&link), Ok(Entry::Link(link)) if link == "../x"));
        for kind in [EntryType::Directory, EntryType::Fifo, EntryType::Char] {
            assert!(read_first_entry(&archive(kind, 0, b"", "")).is_err(), "{kind:?}");
        }
        let large = vec![b'x'; (1 << 20) + 1];
        let large = archive(EntryType::Regular, large.len() as u64, &large, "");
        assert!(read_first_entry(&large).is_err_and(|reason| reason.contains("1 MiB")));
        for length in 0..text.len().min(700) {
            drop(read_first_entry(&text[..length]));
        }
        assert!(read_first_entry(b"").is_err());
    }

    #[test]
    fn links_lead_on_from_their_own_folder() {
        assert_eq!(resolve_link("/etc/passwd", "/nix/store/p"), "/nix/store/p");
        assert_eq!(resolve_link("/etc/passwd", "static/p"), "/etc/static/p");
    }
}
